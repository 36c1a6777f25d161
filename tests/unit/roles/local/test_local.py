from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command
from tests.unit.roles.local import shell

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Access, Outgoing, open_broker
from skymap_scanner.errors import InputError, SkymapError, SoftwareMismatchError
from skymap_scanner.event.model import Event
from skymap_scanner.i3 import FrameWriter, I3EventHeader, I3RecoPulseSeriesMap
from skymap_scanner.roles.local import local
from skymap_scanner.roles.local.local import LocalScan, broker_arguments, role_commands, run_local
from skymap_scanner.roles.local.record import Record, check_same, check_software, read_record, write_record
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.roles.worker.crash_reports import CrashReport
from skymap_scanner.scan.levels import parse_area, parse_levels

SETTINGS = ScanSettings("scan", parse_levels("1:0"), reconstruction="dummy")


def test_every_role_has_a_command_line(tmp_path: Path) -> None:
    scan = LocalScan(
        Path("event.i3"), tmp_path, SETTINGS, workers=3, output=tmp_path / "{stem}.i3.gz", formats=("json",)
    )
    commands = role_commands(scan)
    assert list(commands) == ["worker-0", "worker-1", "worker-2", "producer", "collector", "saver"]
    broker = f"sqlite:///{tmp_path}/scan.sqlite"
    for role, words in commands.items():
        assert words[0] == role.partition("-")[0]
        assert words[words.index("--broker") + 1] == broker
    assert commands["saver"][-3:-1] == ["--format", "json"]


def test_command_lines_hold_no_secrets_of_a_shared_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYMAP_AUTH_TOKEN", "s3cret")
    access = Access("http://admin", tmp_path / "token", tmp_path / "trusted", tmp_path / "mine", tmp_path / "key")
    (tmp_path / "token").write_text("s3cret")
    scan = LocalScan(
        Path("event.i3"), tmp_path, SETTINGS, 0, tmp_path / "x.i3", shared="pulsar+ssl://host", access=access
    )
    commands = role_commands(scan)
    assert list(commands) == ["producer", "collector", "saver"]
    expected = ["--broker", "pulsar+ssl://host", *broker_arguments("pulsar+ssl://host", access)[2:]]
    for words in commands.values():
        at = words.index("--broker")
        assert words[at : at + len(expected)] == expected
        assert "s3cret" not in " ".join(words)
    assert expected[2:6] == ["--admin-url", "http://admin", "--auth-token", str(tmp_path / "token")]


def test_record_round_trips_and_names_differences(tmp_path: Path) -> None:
    area = ScanSettings("scan", parse_levels("8:0"), area=parse_area("1,6,5"), parameters={"ra": 1.5}, predictive=0.5)
    record = Record.of("/a/event.json", area, ("json",))
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    check_same(tmp_path, record, record)
    with pytest.raises(InputError, match=r"holds a scan of /a/event.json"):
        check_same(tmp_path, record, Record.of("/b.json", area, ("json",)))
    check_same(tmp_path, record, Record.of("/a/event.json", area, ("png",)))
    with pytest.raises(InputError, match=r"with seeds 7, not 3"):
        check_same(tmp_path, record, Record.of("/a/event.json", replace(area, seeds=3)))
    with pytest.raises(InputError, match=r"over an embedded broker, not over pulsar://host"):
        check_same(tmp_path, record, Record.of("/a/event.json", area, ("json",), "pulsar://host"))


def test_unfinished_scan_of_another_software_is_not_resumed(tmp_path: Path) -> None:
    settings = ScanSettings("scan", parse_levels("8:0"))
    begun, now = (f"skymap-scanner {number}, dummy" for number in ("0.1", "0.2"))
    found = replace(Record.of("/a/event.json", settings), software=begun)
    check_software(tmp_path, found, begun)
    with pytest.raises(
        InputError, match=r"unfinished scan by 'skymap-scanner 0\.1, dummy', this is 'skymap-scanner 0\.2"
    ):
        check_software(tmp_path, found, now)


def test_invalid_record_is_named(tmp_path: Path) -> None:
    large = json.dumps({"event": "x" * 2**20, "settings": {"name": "scan"}})
    for text in ("{", "[]", "[" * 10**5, large, json.dumps({"colour": "blue"}), json.dumps({"event": "x"})):
        (tmp_path / "scan.json").write_text(text)
        with pytest.raises(InputError, match=r"scan\.json is not a valid record of a scan"):
            read_record(tmp_path)


def test_role_that_crashes_repeatedly_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", "echo last words; exit 70"]})
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    with pytest.raises(SkymapError, match=r"saver crashed 5 times in a row \(exit code 70\); .*: last words"):
        run_local(scan, lambda _: None, Stop(), shell.start)
    assert (tmp_path / "logs/saver.log").read_text() == "last words\n" * 5


def test_worker_of_another_software_ends_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ["sh", "-c", "echo Error: the scan is fitted by another; exit 3"]
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sleep", "600"], "worker-0": worker})
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    with pytest.raises(SoftwareMismatchError, match=r"^worker-0 failed: the scan is fitted by another$"):
        run_local(scan, lambda _: None, Stop(), shell.start)
    assert len((tmp_path / "logs/worker-0.log").read_text().splitlines()) == 1


def test_killed_role_is_restarted_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; [ $(wc -l < {lives}) -gt 12 ] || kill -9 $$"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    assert run_local(scan, lambda _: None, Stop(), shell.start)
    assert len(lives.read_text().splitlines()) == 13


@pytest.mark.parametrize("tasks_crash", [False, True])
def test_worker_that_hangs_without_a_task_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks_crash: bool
) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; [ $(wc -l < {lives}) -gt 8 ] || kill -ALRM $$"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    if tasks_crash:
        with open_broker(scan.broker) as broker:
            topics = ScanTopics.of(SETTINGS.name)
            create_topics(broker, topics)
            with broker.producer(topics.crash_reports, "worker") as producer:
                producer.send(Outgoing(CrashReport(task="a", name="b", attempt="c", limit=1.0).encode()))
        assert run_local(scan, lambda _: None, Stop(), shell.start)
    else:
        with pytest.raises(SkymapError, match=r"crashed 5 times in a row \(exit code -14\)"):
            run_local(scan, lambda _: None, Stop(), shell.start)


def test_stopped_role_is_restarted_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; n=$(wc -l < {lives}); [ $n -gt 6 ] || exit $((143 - 13 * (n % 2)))"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    assert run_local(scan, lambda _: None, Stop(), shell.start)
    assert len(lives.read_text().splitlines()) == 7


def test_full_disk_is_reported_without_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", "exit 1"]})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))  # type: ignore[attr-defined]
    scan = LocalScan(Path("event.i3"), tmp_path, SETTINGS, workers=1, output=tmp_path / "x.i3")
    with pytest.raises(SkymapError, match=r"saver failed: the disk of .* is full"):
        run_local(scan, lambda _: None, Stop(), shell.start)


def test_brightest_sub_event_is_scanned_and_named(
    event: Event, tmp_path: Path, command: Callable[..., Command]
) -> None:
    frames = [event.frames[stop].copy() for stop in "GCDQPP"]
    for sub_event, physics in enumerate(frames[-2:]):
        del physics["SCAN_EventName"]
        physics["I3EventHeader"] = replace(
            physics.expect("I3EventHeader", I3EventHeader), sub_event_id=sub_event, sub_event_stream="InIceSplit"
        )
    pulses = frames[-2].expect("SplitInIcePulses", I3RecoPulseSeriesMap).value
    frames[-2]["SplitInIcePulses"] = I3RecoPulseSeriesMap(dict(list(pulses.items())[:2]))
    with FrameWriter(tmp_path / "two.i3") as writer:
        for frame in frames:
            writer.write(frame)
    words = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "summary"]
    for select, expected in (([], 1), (["--select", "1/2/0"], 0)):
        done = command("run", "two.i3", "-o", f"out{expected}", *words, *select).run()
        assert done.returncode == 0, done.stderr
        assert f"Event: run 1, event 2, sub-event {expected} (InIceSplit)" in done.stdout
        for text in (done.stderr, done.stdout):
            assert ("2 sub-events have light under SplitInIcePulses" in text) == (not select)
        (summary,) = (tmp_path / f"out{expected}").glob("*.summary.json")
        content = json.loads(summary.read_text())
        assert (content["sub_event_id"], content["sub_event_stream"]) == (expected, "InIceSplit")
        assert summary.name.startswith("run00000001.evt000000000002" + ("-1" if expected else "") + ".")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--reconstruction", "magic"], "no reconstruction is named 'magic'"),
        (["--parameter", "colour=1"], "has no parameter 'colour'"),
        (["--pulses", "Nope"], "no pulses Nope"),
        (["--select", "7/7"], "holds no event 7/7"),
        (["--select", "1/2/3"], "holds no event 1/2/3; it holds 1/2/0"),
        (["--levels", "8:0", "9:1"], "nside 9 is not a power of two"),
    ],
)
def test_invalid_scan_is_rejected_before_creating_files(
    words: list[str], why: str, command: Callable[..., Command], event_file: Path, tmp_path: Path
) -> None:
    defaults = [] if "--reconstruction" in words else ["--reconstruction", "dummy"]
    done = command("run", event_file, "-o", "x", *defaults, *words).run()
    assert done.returncode == 1
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_event_without_a_record_is_read_again(
    command: Callable[..., Command], event_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/event.i3.zst").write_bytes(b"of a scan that never began")
    words = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "summary"]
    done = command("run", event_file, "-o", "x", *words).run()
    assert done.returncode == 0, done.stderr


def test_database_without_a_record_is_not_joined(
    command: Callable[..., Command], event_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/scan.sqlite").write_bytes(b"of another scan")
    done = command("run", event_file, "-o", "x", "--reconstruction", "dummy").run()
    assert done.returncode == 1
    assert "x holds a scan (scan.sqlite) without its record scan.json: choose another folder" in done.stderr
    assert (tmp_path / "x/scan.sqlite").read_bytes() == b"of another scan"
