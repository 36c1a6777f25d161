from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Scan

from skymap_api.names import ScanTopics, TopicBases
from skymap_api.progress import FitCounts, Progress, ProgressPhase, encode_progress
from skymap_api.resource.status import LevelStatus
from skymap_scanner.broker import Backlog, Broker, Outgoing, open_broker
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.prepared_frames import event_frames
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.scans import (
    FoundScan,
    delete_scan,
    describe_scan,
    find_scans,
    group_by_scan,
    latest_progress,
)
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics, publish_metadata, read_metadata

MakeScan = Callable[..., Scan]

BASES = TopicBases()
SKYMAP = "persistent://icecube/skymap/"
FRAMES = tuple(f"{ScanTopics.of('a').metadata}{number:064x}" for number in range(5))

FITS = FitCounts(done=21, started=84, planned=100)


def all_of(name: str, bases: TopicBases = BASES) -> frozenset[str]:
    return frozenset(ScanTopics.of(name, bases).all())


def progress(phase: ProgressPhase = ProgressPhase.SCANNING) -> Progress:
    level = LevelStatus(nside=1, done=5, planned=12, decided=True, failed=0)
    return Progress(name="a", phase=phase, levels=(level,), fits=FITS, rate=1.0, eta=7.0, elapsed=5.0, best=None)


def found(name: str = "a", without: str = "", **values: object) -> FoundScan:
    topics = ScanTopics.of(name)
    missing = {f"{SKYMAP}{name}-{last}" for last in without.split()}
    values = {"metadata": FRAMES, "begun": True} | values
    return FoundScan(name, topics, all_of(name) - missing, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a-b"],
        ["a", "a-plan", "a-plan-plan"],
        ["plan", "scanned", "to_be_scanned"],
        ["a.b", "a_b", "run00138632.evt000031747601.HESE-1f2e3d4c"],
        ["x-to_be", "x"],
    ],
)
def test_every_topic_belongs_to_one_scan(names: list[str]) -> None:
    everything = [topic for name in names for topic in all_of(name)]
    assert len(set(everything)) == len(everything)
    assert group_by_scan(everything, BASES) == {name: all_of(name) for name in sorted(names)}


@pytest.mark.parametrize(
    "topic",
    [
        f"{SKYMAP}to_be_scanned",
        f"{SKYMAP}-plan",
        f"{SKYMAP}plan",
        f"{SKYMAP}-a-plan",
        f"{SKYMAP}a-other",
        "persistent://icecube/other/a-plan",
        f"{SKYMAP}a/b-plan",
        FRAMES[0],
    ],
)
def test_foreign_topics_are_omitted(topic: str) -> None:
    assert group_by_scan([topic], BASES) == {}


def test_topics_with_other_bases_are_found() -> None:
    bases = replace(BASES, to_be_scanned="persistent://t/in/tasks", scanned="persistent://t/out/fits")
    there = all_of("a", bases)
    assert {"persistent://t/in/a-tasks", "persistent://t/out/a-fits", "persistent://t/in/a-plan"} <= there
    assert group_by_scan([*there, *all_of("b")], bases) == {"a": there, "b": frozenset({f"{SKYMAP}b-collected"})}


@pytest.mark.parametrize(
    ("scan", "phase", "resumable"),
    [
        (found(begun=False), "pending", True),
        (found(), "preparing", True),
        (found(progress=progress()), "scanning", True),
        (found(progress=progress(ProgressPhase.WRITING)), "writing", True),
        (found(progress=progress(ProgressPhase.DONE)), "done", False),
        (found(progress=progress(ProgressPhase.DONE), without="collected"), "done", False),
        (found(progress=progress(ProgressPhase.DONE), without="to_be_scanned plan"), "done", False),
        (found(progress=progress(), without="to_be_scanned plan", begun=False), "incomplete", False),
        (found(without="plan", begun=False), "incomplete", False),
    ],
)
def test_phase_and_resumable_follow_from_the_topics(scan: FoundScan, phase: str, resumable: bool) -> None:
    assert (scan.phase, scan.resumable) == (phase, resumable)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with open_broker(f"sqlite:///{tmp_path / 'scans.sqlite'}") as broker:
        yield broker


def look(broker: Broker, name: str) -> FoundScan:
    return describe_scan(broker, name, find_scans(broker, BASES)[name], BASES)


def test_scan_is_described_from_its_topics(broker: Broker, scan: MakeScan) -> None:
    topics = ScanTopics.of("a")
    create_topics(broker, topics)
    seen = look(broker, "a")
    assert (seen.phase, seen.metadata, seen.progress) == ("pending", (), None)
    assert seen.backlog == Backlog(0, 0)
    one = scan("1:0", seeds=3)
    stop = Stop()
    with broker.producer(topics.progress, "saver") as saver:
        saver.send(Outgoing(encode_progress(progress())))
    stop.request()  # the producer announces the scan and ends
    produce(broker, topics, one.event, replace(one.settings, name="a"), stop)
    seen = look(broker, "a")
    assert seen.phase == "scanning"
    assert seen.progress == progress()
    assert seen.metadata == tuple(broker.topics(BASES.metadata)) != ()


def test_describing_a_scan_creates_no_topic(broker: Broker) -> None:
    broker.create_topic(f"{SKYMAP}a-collected")
    seen = look(broker, "a")
    assert (seen.phase, seen.backlog) == ("incomplete", None)
    assert broker.topics() == [f"{SKYMAP}a-collected"]


def test_scans_of_one_event_have_frames_of_their_own(broker: Broker, scan: MakeScan) -> None:
    one = scan("1:0")
    stop = Stop()
    stop.request()
    for name in ("a", "a-b"):
        produce(broker, ScanTopics.of(name), one.event, replace(one.settings, name=name), stop)
    kept = look(broker, "a-b")
    delete_scan(broker, "a")
    assert set(broker.topics()) == {*kept.existing, *kept.metadata}
    delete_scan(broker, "a-b")
    assert broker.topics() == []
    assert delete_scan(broker, "a-b") == ()


def test_scan_keeps_its_frames_while_another_is_deleted(broker: Broker, scan: MakeScan) -> None:
    """Delete the other scan at each step of the one that begins, before its plan names the frames."""
    one = scan("1:0")
    stop = Stop()
    stop.request()
    prepared = prepare(one.event)
    for step in range(3):
        produce(broker, ScanTopics.of("a"), one.event, replace(one.settings, name="a"), stop)
        topics = ScanTopics.of(f"b{step}")
        if step == 0:
            delete_scan(broker, "a")
        create_topics(broker, topics)
        if step == 1:
            delete_scan(broker, "a")
        names = publish_metadata(broker, topics, event_frames(one.event, prepared))
        delete_scan(broker, "a")
        assert [read_metadata(broker, name, timeout=0).stop for name in names] == list("GCDQp")


def test_frames_are_deleted_though_no_plan_names_them(broker: Broker, scan: MakeScan) -> None:
    """A producer may end between publishing the frames and the plan."""
    topics = ScanTopics.of("a")
    create_topics(broker, topics)
    publish_metadata(broker, topics, event_frames(scan("1:0").event, prepare(scan("1:0").event)))
    delete_scan(broker, "a")
    assert broker.topics() == []


def test_latest_valid_snapshot_counts(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    topic = f"{SKYMAP}a-progress"
    with broker.producer(topic, "saver") as saver, broker.reader(topic) as reader:
        assert latest_progress(reader, 0) is None
        saver.send(
            *[Outgoing(encode_progress(progress(phase))) for phase in (ProgressPhase.SCANNING, ProgressPhase.DONE)]
        )
        assert latest_progress(reader, 0) == progress(ProgressPhase.DONE)
        assert latest_progress(reader, 0) is None
        assert caplog.text == ""
        saver.send(Outgoing(b"{}"))
        assert latest_progress(reader, 0) is None
        assert (
            "ignored 1 messages on the progress topic: not a progress snapshot of this version: name: Field"
            in caplog.text
        )
        saver.send(Outgoing(encode_progress(progress(ProgressPhase.SCANNING))), Outgoing(b"\xff"))
        assert latest_progress(reader, 0) == progress(ProgressPhase.SCANNING)
