from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skymap_api.names import ScanTopics
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_api.resource.status import LevelStatus
from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.sqlite import SqliteBroker
from skymap_scanner.cli import group, main
from skymap_scanner.errors import InputError
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.scan.plan_entries import EventFacts, ScanEntry

FITS = FitCounts(done=21, started=84, planned=100)

SKYMAP = "persistent://icecube/skymap/"

Topics = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'scan.sqlite'}"


@pytest.fixture
def topics(url: str) -> Topics:
    def run(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(group, ["topics", *words, "-b", url], input=answer)

    return run


def frame(name: str) -> str:
    return f"{ScanTopics.of(name).metadata}{0x123:064x}"


def begin(url: str, name: str, phase: ProgressPhase | None = None) -> None:
    """Make a scan that has sent its frames and its plan, and whose saver has reported a phase."""
    scan = ScanTopics.of(name)
    facts = EventFacts(name="e", run=1, event=2, mjd=6e4, kind="t", real=False, metadata_topics=(frame(name),))
    entry = ScanEntry(
        name=name, event=facts, levels="1:0", seeds=7, reconstruction="dummy", software="skymap-scanner 0.1.0, dummy"
    )
    with open_broker(url) as broker:
        create_topics(broker, scan)
        broker.create_topic(frame(name))
        with broker.producer(scan.plan, "producer") as plan:
            plan.send(Outgoing(entry.encode(), sequence_id=0))
        if phase is not None:
            level = LevelStatus(nside=1, done=5, planned=12, decided=True, failed=0)
            one = Progress(name=name, phase=phase, levels=(level,), fits=FITS, rate=1, eta=7, elapsed=5, best=None)
            with broker.producer(scan.progress, "saver") as saver:
                saver.send(Outgoing(one.model_dump_json().encode()))


def left(url: str) -> set[str]:
    with open_broker(url) as broker:
        return {topic.removeprefix(SKYMAP) for topic in broker.topics()}


def names_left(url: str) -> set[str]:
    return {topic.removesuffix("-plan") for topic in left(url) if topic.endswith("-plan")}


def test_create_reports_new_and_existing_topics(topics: Topics, url: str) -> None:
    with open_broker(url) as broker:
        broker.create_topic(f"{SKYMAP}a-plan")
    first = topics("create", "-n", "a")
    assert first.exit_code == 0
    lines = first.stdout.splitlines()
    assert f"{SKYMAP}a-to_be_scanned  created" in lines
    assert f"{SKYMAP}a-plan  exists already" in lines
    assert {line.split()[0].removeprefix(SKYMAP) for line in lines} == left(url)
    assert " created" not in topics("create", "-n", "a").stdout
    with open_broker(url) as broker:
        assert broker.backlog(f"{SKYMAP}a-to_be_scanned", "workers").waiting == 0


def test_list_shows_every_scan(topics: Topics, url: str) -> None:
    begin(url, "a", ProgressPhase.SCANNING)
    begin(url, "a-b")
    with open_broker(url) as broker, broker.producer(f"{SKYMAP}a-to_be_scanned", "producer") as tasks:
        tasks.send(Outgoing(b"1"), Outgoing(b"2"))
        create_topics(broker, ScanTopics.of("c"))
    rows = [line.split() for line in topics("list").stdout.splitlines()]
    count = str(len({topic for topic in left(url) if topic.startswith("c-")}))
    assert rows[1:] == [
        ["a", "scanning", "5/12", "2", "0", count],
        ["a-b", "preparing", "0", "0", count],
        ["c", "pending", "0", "0", count],
    ]
    plain = [json.loads(line) for line in topics("list", "--json").stdout.splitlines()]
    assert [(one["name"], one["phase"], one["done"], one["planned"], one["waiting"]) for one in plain] == [
        ("a", "scanning", 5, 12, 2),
        ("a-b", "preparing", None, None, 0),
        ("c", "pending", None, None, 0),
    ]
    assert plain[0]["metadata_topics"] == [frame("a")]
    assert f"{SKYMAP}a-plan" in plain[0]["topics"]


def test_options_may_precede_the_action(url: str) -> None:
    begin(url, "list", ProgressPhase.DONE)
    with pytest.raises(SystemExit) as stop:
        main(["-b", url, "-n", "list", "topics", "--dry-run", "delete"])
    assert stop.value.code == 0
    assert names_left(url) == {"list"}
    with pytest.raises(SystemExit) as stop:
        main(["-b", url, "topics", "-n", "list", "delete"])
    assert stop.value.code == 0
    assert left(url) == set()


def test_roles_that_recreate_topics_are_reported(topics: Topics, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(url, "a", ProgressPhase.SCANNING)
    delete = SqliteBroker.delete_topic

    def with_a_role_that_starts(broker: SqliteBroker, topic: str) -> None:
        delete(broker, topic)
        if topic.endswith("-progress"):
            broker.create_topic(f"{SKYMAP}a-scanned")

    monkeypatch.setattr(SqliteBroker, "delete_topic", with_a_role_that_starts)
    result = topics("delete", "-n", "a", "--yes")
    assert "Roles of scan a still run" in result.stderr
    assert left(url) == {"a-scanned"}
    monkeypatch.undo()
    assert "still run" not in topics("delete", "-n", "a", "--yes").stderr
    assert left(url) == set()


def test_topic_options_choose_the_topics(topics: Topics, url: str) -> None:
    bases = ["-t", "persistent://t/n/tasks", "-s", "persistent://t/n/fits", "-c", "persistent://t/n/bests"]
    topics("create", "-n", "a", *bases)
    assert "persistent://t/n/a-tasks" in left(url)
    assert topics("list").stdout == ""
    assert topics("list", *bases).stdout.splitlines()[1].split()[0] == "a"
    assert topics("delete", "-n", "a", "--yes").exit_code == 0
    assert "persistent://t/n/a-tasks" in left(url)
    topics("delete", "-n", "a", "--yes", *bases)
    assert left(url) == set()


@pytest.mark.parametrize("words", [["list"], ["delete", "-n", "a"], ["delete", "--finished"]])
def test_topics_command_creates_no_broker_file(topics: Topics, tmp_path: Path, words: list[str]) -> None:
    result = topics(*words)
    assert isinstance(result.exception, InputError)
    assert "there is no such file" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_delete_removes_only_the_finished_scan(topics: Topics, url: str) -> None:
    begin(url, "a", ProgressPhase.DONE)
    begin(url, "a-b", ProgressPhase.SCANNING)
    before = left(url)
    done = topics("delete", "-n", "a")
    assert done.exit_code == 0
    own = {topic for topic in before if topic.startswith("a-") and not topic.startswith("a-b-")}
    assert before - left(url) == own | {frame("a")}
    assert frame("a-b") in left(url)
    again = topics("delete", "-n", "a")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "Scan a has no topics on" in again.stderr


def test_dry_run_lists_the_topics_of_the_deletion(topics: Topics, url: str) -> None:
    begin(url, "a", ProgressPhase.SCANNING)
    before = left(url)
    planned = topics("delete", "-n", "a", "--dry-run").stdout
    assert left(url) == before
    assert topics("delete", "-n", "a", "--yes").stdout == planned.replace("would be deleted", "deleted")
    assert left(url) == set()


def test_unfinished_scan_is_not_deleted_without_confirmation(
    topics: Topics, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(url, "a", ProgressPhase.SCANNING)
    before = left(url)
    rejected = topics("delete", "-n", "a")
    assert isinstance(rejected.exception, InputError)
    assert str(rejected.exception) == (
        "scan a is not finished (scanning, 5 of 12 pixels): give --yes to delete it anyway"
    )
    assert left(url) == before


@pytest.mark.parametrize(("answer", "deleted"), [("y\n", True), ("n\n", False), ("", False)])
def test_deletion_is_confirmed_on_a_terminal(
    topics: Topics, url: str, monkeypatch: pytest.MonkeyPatch, answer: str, deleted: bool
) -> None:
    from skymap_scanner.cli import topics as module  # noqa: PLC0415

    class Terminal:
        class stdin:  # noqa: N801 - stands for sys.stdin
            isatty = staticmethod(lambda: True)

    monkeypatch.setattr(module, "sys", Terminal)
    begin(url, "a", ProgressPhase.WRITING)
    result = topics("delete", "-n", "a", answer=answer)
    assert "Scan a is not finished (writing, 5 of 12 pixels). Delete it?" in result.stdout
    assert (result.exit_code == 0) is deleted
    assert (left(url) == set()) is deleted


def test_interrupted_deletion_is_completed(topics: Topics, url: str) -> None:
    begin(url, "a", ProgressPhase.SCANNING)
    steps = [line.split()[0] for line in topics("delete", "-n", "a", "--dry-run").stdout.splitlines()]
    assert frame("a") in steps
    for cut in range(1, len(steps)):
        begin(url, "a", ProgressPhase.SCANNING)
        with open_broker(url) as broker:
            for topic in steps[:cut]:
                broker.delete_topic(topic)
        assert topics("delete", "-n", "a", "--yes").exit_code == 0
        assert left(url) == set(), f"cut after {steps[:cut]}"


def test_finished_scans_are_deleted_with_their_event(topics: Topics, url: str) -> None:
    for name in ("a", "a-b"):
        begin(url, name, ProgressPhase.DONE)
    begin(url, "c", ProgressPhase.SCANNING)
    assert topics("delete", "--finished").exit_code == 0
    assert names_left(url) == {"c"}
    assert frame("c") in left(url)
    assert "No scan is finished" in topics("delete", "--finished").stderr
    begin(url, "c", ProgressPhase.DONE)
    topics("delete", "--finished")
    assert left(url) == set()


@pytest.mark.parametrize("words", [[], ["-n", "a", "--finished"]])
def test_delete_needs_either_name_or_finished(topics: Topics, url: str, words: list[str]) -> None:
    result = topics("delete", *words)
    assert result.exit_code == 2
    assert "either --name, or --finished" in result.stderr


def test_invalid_name_is_rejected(topics: Topics, url: str) -> None:
    begin(url, "a")
    result = topics("delete", "-n", "a/b", "--yes")
    assert isinstance(result.exception, InputError)
    assert "scan name 'a/b'" in str(result.exception)
