"""Invalid fits and best fits: the map is unchanged, or shows which pixels failed."""

from __future__ import annotations

import gzip
import io
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import Broker, Outgoing, Producer, open_broker
from skymap_scanner.i3 import Frame, I3Double, I3Int, I3Particle, I3String, I3VectorI3Particle, read_frames
from skymap_scanner.roles.collector import collector, decisions, republishing
from skymap_scanner.roles.collector.collector import collect
from skymap_scanner.roles.collector.decisions import Republication
from skymap_scanner.roles.collector.republishing import Republisher
from skymap_scanner.roles.fit_validation import FitValidator, pixel_of_key
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.readers import PlanReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import MAX_FIT_BYTES
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.scan.pixels import Pixel, children
from skymap_scanner.scan.plan_entries import ahead_entry

MakeScan = Callable[..., Scan]
Corrupt = Callable[[Outgoing], Outgoing]


def payload(change: Callable[[bytes], bytes]) -> Corrupt:
    return lambda message: replace(message, payload=change(message.payload))


def with_objects(**objects: Any) -> Corrupt:
    """Replace objects of the frame; None removes one."""

    def changed(data: bytes) -> bytes:
        frame = Frame.from_bytes(data)
        for key, value in objects.items():
            if value is None:
                del frame[key]
            else:
                frame[key] = value(frame[key]) if callable(value) else value
        return frame.to_bytes()

    return payload(changed)


def turned(particle: Any) -> Any:
    return replace(particle, dir=replace(particle.dir, zenith=particle.dir.zenith + 0.1))


def moved(particle: Any) -> Any:
    return replace(particle, pos=replace(particle.pos, x=1e300))


def with_properties(**properties: str) -> Corrupt:
    return lambda message: replace(message, properties=dict(message.properties) | properties)


TRACK = "MillipedeStarting2ndPass"
INVALID: Mapping[str, Corrupt] = {
    "nothing": payload(lambda _: b""),
    "garbage": payload(lambda _: b"garbage " * 10),
    "5 MB": payload(lambda _: b"\xff" * 5_000_000),
    "cut": payload(lambda data: data[:-7]),
    "a bit is wrong": payload(lambda data: data[:300] + bytes([data[300] ^ 4]) + data[301:]),
    "compressed": payload(gzip.compress),
    "bomb": payload(lambda _: gzip.compress(bytes(20_000_000))),
    "two frames": payload(lambda data: data * 2),
    "no -ln L": with_objects(SCAN_NegLogLikelihood=None),
    "-ln L of another class": with_objects(SCAN_NegLogLikelihood=I3Int(5)),
    "-ln L inf": with_objects(SCAN_NegLogLikelihood=I3Double(math.inf)),
    "-ln L -inf": with_objects(SCAN_NegLogLikelihood=I3Double(-math.inf)),
    "-ln L -1e308": with_objects(SCAN_NegLogLikelihood=I3Double(-1e308)),
    "vertex": with_objects(**{TRACK: moved}),
    "energy": with_objects(**{f"{TRACK}_totalRecoLossesInside": I3Double(-1.0)}),
    "direction": with_objects(**{TRACK: turned}),
    "wrong pixel": with_objects(SCAN_HealpixPixel=lambda pixel: I3Int((pixel.value + 4) % 12)),
    "pixel of no level": with_objects(SCAN_HealpixNSide=I3Int(4)),
    "no pixel": with_objects(SCAN_HealpixPixel=I3Int(-1)),
    "wrong seed": with_objects(SCAN_PositionVariationIndex=lambda seed: I3Int((seed.value + 1) % 3)),
    "no seed": with_objects(SCAN_PositionVariationIndex=I3Int(77)),
    "another event": with_objects(SCAN_EventName=I3String("run00000009.evt000000000009")),
    "other parameters": with_properties(reconstruction_parameters='{"ra": 0.0}'),
    "another pixel's key": lambda message: replace(message, key="1/0" if message.key == "1/4" else "1/4"),
}

#: Fits whose values are right, but which would fill the disk of whoever writes the results, and one of a long error.
OVERSIZED: tuple[Corrupt, ...] = (
    with_objects(Ballast=I3String("x" * MAX_FIT_BYTES)),
    with_objects(**{f"{TRACK}Params": I3VectorI3Particle((I3Particle(),) * 3000)}),
    with_objects(**{"k" * MAX_FIT_BYTES: I3Int(1)}),
    with_objects(SCAN_EventName=I3String("e" * 100_000)),
)


class Corrupting:
    """A broker whose workers answer each task with invalid fits several times, and then correctly.

    With several kinds of invalid fits, each task has one of them, in turn.
    """

    def __init__(self, *kinds: Corrupt, times: int) -> None:
        self._kinds = kinds
        self._times = times
        self.seen: Counter[tuple[str | None, str]] = Counter()

    def __call__(self, url: str) -> Broker:
        broker = open_broker(url)
        made = broker.producer
        broker.producer = lambda topic, name: self._watched(made(topic, name), name)  # type: ignore[method-assign]
        return broker

    def _watched(self, producer: Producer, name: str) -> Producer:
        submit = producer.submit
        if name.startswith("worker-"):
            producer.submit = lambda message: self._submit(submit, message)  # type: ignore[method-assign]
        return producer

    def _submit(self, submit: Callable[[Outgoing], Future[None]], message: Outgoing) -> Future[None]:
        task = message.key, message.properties["seed"]
        self.seen[task] += 1
        kind = self._kinds[list(self.seen).index(task) % len(self._kinds)]
        return submit(kind(message) if self.seen[task] <= self._times else message)


@pytest.fixture
def small(scan: MakeScan) -> Callable[..., Scan]:
    """A scan of three coarse pixels and four finer ones, three seeds each."""
    return lambda folder, **settings: scan("1:0 2:1", folder, pixels="0,4,8", **settings)


def test_tasks_with_invalid_fits_are_republished_without_changing_the_map(scan: MakeScan) -> None:
    plain, one = scan("1:0 2:3", "plain"), scan("1:0 2:3", "one")
    plain.run(workers=1)
    one.opened = corrupting = Corrupting(*INVALID.values(), times=1)
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)
    assert len(corrupting.seen) == 36 + 36 >= 3 * len(INVALID)
    # Each again, and once: but for those that a wrong key names, which may lack their answer too.
    again = Counter(corrupting.seen.values())
    assert again[2] >= len(corrupting.seen) - 6
    assert set(again) <= {2, 3, 4}
    with open_broker(one.url) as broker:
        assert broker.backlog(one.topics.scanned, "collector").waiting == 0


def test_oversized_fits_do_not_reach_the_results(small: Callable[..., Scan], caplog: pytest.LogCaptureFixture) -> None:
    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    one.opened = corrupting = Corrupting(*OVERSIZED, times=1)
    with caplog.at_level("DEBUG"):
        one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)
    assert set(corrupting.seen.values()) == {2}
    assert max(len(text) for text in caplog.messages) < 2000


def test_oversized_best_fits_are_skipped(small: Callable[..., Scan]) -> None:
    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    with open_broker(one.url) as broker:
        create_topics(broker, one.topics)
        with broker.producer(one.topics.collected, "stranger") as stranger:
            stranger.send(Outgoing(bytes(4 * MAX_FIT_BYTES + 1), key="1/0"))
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)


def test_fits_of_a_second_reconstruction_do_not_reach_the_map(small: Callable[..., Scan]) -> None:
    """The -ln L of the second reconstruction is lower everywhere, so its fits would win."""
    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    other = with_objects(SCAN_Reconstruction=I3String("other"), SCAN_NegLogLikelihood=I3Double(1.0))
    first: list[str | None] = []

    def other_from_the_second_on(message: Outgoing) -> Outgoing:
        first.append(message.key)
        return other(message) if len(first) > 1 else message

    one.opened = corrupting = Corrupting(other_from_the_second_on, times=1)
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)
    assert sorted(corrupting.seen.values()) == [1] + [2] * 20


def test_restarted_collector_keeps_the_reconstruction_of_stored_best_fits(small: Callable[..., Scan]) -> None:
    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    other = with_objects(SCAN_Likelihood=I3String("bowl 2"), SCAN_NegLogLikelihood=I3Double(1.0))
    with open_broker(plain.url) as broker, broker.reader(plain.topics.collected) as reader:
        best = reader.receive(0)
    with open_broker(plain.url) as broker, broker.reader(plain.topics.scanned) as reader:
        fits = [Outgoing(fit.payload, fit.key, fit.properties) for fit in iter(lambda: reader.receive(0), None)]
    assert best is not None
    with open_broker(one.url) as broker:
        create_topics(broker, one.topics)
        with broker.producer(one.topics.collected, "earlier") as earlier:
            earlier.send(Outgoing(best.payload, best.key, best.properties))
        with broker.producer(one.topics.scanned, "worker") as worker:
            worker.send(*(other(fit) for fit in fits if fit.key != best.key))
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)


@pytest.mark.parametrize("kind", ["garbage", "-ln L -1e308", "wrong seed"])
def test_task_with_only_invalid_fits_is_given_up(
    small: Callable[..., Scan], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = small("one")
    one.opened = corrupting = Corrupting(INVALID[kind], times=1000)
    one.run(workers=1)
    assert set(corrupting.seen.values()) == {decisions.MAX_REPUBLISHES + 1}
    failed = [frame for frame in read_frames(io.BytesIO(one.i3)) if "SCAN_FailureReason" in frame]
    assert len(failed) == 3  # the pixels of the first level: nothing is left to refine
    for frame in failed:
        assert math.isnan(frame["SCAN_NegLogLikelihood"].value)
        assert frame["SCAN_FailureReason"].value.startswith("given up: 4 fits were rejected, the last because ")
    told = [record.getMessage() for record in caplog.records]
    assert any("9 given up" in text for text in told) or "given up after 4 rejected fits" in " ".join(told)


def test_invalid_fit_without_seed_republishes_all_missing_seeds(small: Callable[..., Scan]) -> None:
    def bare(message: Outgoing) -> Outgoing:
        return replace(message, payload=b"?", properties={})

    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    one.opened = Corrupting(bare, times=1)
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)


@pytest.mark.parametrize("key", ["", "1/99", "1/4"])
def test_unattributed_rejections_republish_all_missing_tasks(
    small: Callable[..., Scan], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    def nameless(message: Outgoing) -> Outgoing:
        return replace(message, payload=b"?", key=key, properties={})

    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    monkeypatch.setattr(collector, "REPUBLISH_AFTER", 0.5)
    one.opened = corrupting = Corrupting(nameless, times=1)
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)
    assert min(corrupting.seen.values()) == 2
    with open_broker(one.url) as broker:
        backlog = broker.backlog(one.topics.scanned, "collector")
        assert (backlog.waiting, backlog.unacked) == (0, 0)


def stored(broker: Broker, topic: str) -> int:
    with broker.reader(topic) as reader:
        return sum(1 for _ in iter(lambda: reader.receive(0), None))


def test_stop_ends_republishing_between_two_batches(
    small: Callable[..., Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republishing, "BATCH", 2)
    one, stop = small("one"), Stop()
    one.run()
    with open_broker(one.url) as broker, PlanReader(broker, one.topics.plan) as reader:
        scan, plan = reader.begun_scan(), reader.update()
        assert scan is not None

        def missing() -> Iterator[Republication]:
            for number, pixel in enumerate(plan.started):
                if number == 4:  # the first of the third batch
                    stop.request()
                yield Republication(pixel, "lost", {0})

        before = stored(broker, one.topics.to_be_scanned)
        with Republisher(broker, one.topics, FitValidator(scan)) as republisher:
            assert not republisher.publish_all(missing(), plan, stop)
            assert stored(broker, one.topics.to_be_scanned) == before + 4
            assert republisher.publish_all(iter(list(missing())[:3]), plan, Stop())
        assert stored(broker, one.topics.to_be_scanned) == before + 7


def test_unattributed_rejection_survives_a_restart_of_the_collector(small: Callable[..., Scan]) -> None:
    one = small("one")
    begun = Stop()
    begun.request()
    with open_broker(one.url) as broker:
        produce(broker, one.topics, one.event, one.settings, begun)
        with broker.producer(one.topics.scanned, "stranger") as stranger:
            stranger.send(Outgoing(b"?"), Outgoing(b"??"))
        for _ in range(2):
            stop = Stop()
            asked = threading.Timer(1.0, stop.request)
            asked.start()
            assert not collect(broker, one.topics, stop)
            asked.join()
            backlog = broker.backlog(one.topics.scanned, "collector")
            assert backlog.waiting + backlog.unacked == 1, "the first is kept, the second is not"


def test_unattributed_rejection_at_the_end_republishes_nothing(small: Callable[..., Scan]) -> None:
    one = small("one")
    one.run(workers=1)
    with open_broker(one.url) as broker:
        with broker.reader(one.topics.plan) as reader:
            scan, level, *rest = [Outgoing(entry.payload) for entry in iter(lambda: reader.receive(0), None)]
        broker.delete_topic(one.topics.plan)
        guesses = sorted(child for index in (0, 4, 8) for child in children(Pixel(1, index), 2))
        with broker.producer(one.topics.plan, "test") as plan:
            plan.send(scan, level, Outgoing(ahead_entry(2, guesses).encode()), *rest)
        with broker.producer(one.topics.scanned, "stranger") as stranger:
            stranger.send(Outgoing(b"?"))
        assert collect(broker, one.topics, Stop())
        for topic, subscription in ((one.topics.to_be_scanned, "workers"), (one.topics.scanned, "collector")):
            backlog = broker.backlog(topic, subscription)
            assert (backlog.waiting, backlog.unacked) == (0, 0), topic


def test_invalid_best_fits_are_ignored_by_all_roles(small: Callable[..., Scan]) -> None:
    plain, one = small("plain"), small("one")
    plain.run(workers=1)
    with open_broker(plain.url) as broker, broker.reader(plain.topics.scanned) as reader:
        fits = [Outgoing(fit.payload, fit.key, fit.properties) for fit in iter(lambda: reader.receive(0), None)]
    alike = {"two frames", "other parameters", "another pixel's key"}  # valid for a best fit: the key is not read
    with open_broker(one.url) as broker:
        create_topics(broker, one.topics)
        with broker.producer(one.topics.collected, "stranger") as stranger:
            for kind in INVALID.keys() - alike:
                stranger.send(*(INVALID[kind](fit) for fit in (fits[:1] if kind in {"5 MB", "bomb"} else fits)))
    one.run(workers=1)
    assert (one.json, one.i3) == (plain.json, plain.i3)


@pytest.mark.parametrize("key", [None, "", "x", "1", "1/", "/1", "1/2/3", "-1/2", "99999/1", "1/9999999999", "1/2\n"])
def test_invalid_pixel_key_is_decoded_as_none(key: str | None) -> None:
    assert pixel_of_key(key) is None
    assert pixel_of_key("512/3145727") == Pixel(512, 3145727)
