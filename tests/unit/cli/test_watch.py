from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skymap_api.names import ScanTopics
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_api.resource.status import LevelStatus
from skymap_scanner.broker import Message, Outgoing, open_broker
from skymap_scanner.cli import group
from skymap_scanner.cli import watch as module
from skymap_scanner.errors import BrokerUnavailable, InputError
from skymap_scanner.roles.topics import create_topics

FITS = FitCounts(done=21, started=84, planned=100)

TOPICS = ScanTopics.of("a")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'scan.sqlite'}"


def snapshot(phase: ProgressPhase, done: int) -> Progress:
    level = LevelStatus(nside=1, done=done, planned=12, decided=True, failed=0)
    outputs = ("x.i3", "x.json") if phase is ProgressPhase.DONE else ()
    return Progress(
        name="a", phase=phase, levels=(level,), fits=FITS, rate=2, eta=3, elapsed=5, best=None, outputs=outputs
    )


def tell(url: str, phase: ProgressPhase, done: int) -> None:
    with open_broker(url) as broker, broker.producer(TOPICS.progress, "saver") as saver:
        saver.send(Outgoing(snapshot(phase, done).model_dump_json().encode()))


def watch(url: str, *words: str) -> Result:
    return CliRunner().invoke(group, ["watch", "-n", "a", "-b", url, *words])


def test_watch_once_shows_the_latest_snapshot(url: str) -> None:
    tell(url, ProgressPhase.SCANNING, 5)
    tell(url, ProgressPhase.SCANNING, 6)
    once = watch(url, "--once")
    assert once.exit_code == 0
    assert once.stdout == "a: 6/12 pixels, 2.0 fits/s, 0:05 elapsed, 0:03 to go; no fit yet\n"
    plain = json.loads(watch(url, "--once", "--json").stdout)
    assert (plain["phase"], plain["levels"][0]["done"]) == ("scanning", 6)


def test_saver_without_room_is_shown(url: str) -> None:
    stuck = snapshot(ProgressPhase.WRITING, 12).model_copy(update={"obstacle": "x.i3: No space left on device"})
    with open_broker(url) as broker, broker.producer(TOPICS.progress, "saver") as saver:
        saver.send(Outgoing(stuck.model_dump_json().encode()))
    assert watch(url, "--once").stdout == "a: writing, waiting: x.i3: No space left on device; no fit yet\n"


def test_finished_scan_lists_its_files(url: str) -> None:
    tell(url, ProgressPhase.SCANNING, 6)
    tell(url, ProgressPhase.DONE, 12)
    done = watch(url)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "a: done after 0:05; no fit yet",
        "Files, as the saver wrote them:",
        "  x.i3",
        "  x.json",
    ]
    assert json.loads(watch(url, "--json").stdout)["outputs"] == ["x.i3", "x.json"]


def test_watch_once_without_progress_fails_and_creates_nothing(url: str, tmp_path: Path) -> None:
    def look() -> None:
        nothing = watch(url, "--once")
        assert isinstance(nothing.exception, InputError)
        assert f"scan a on {url} has reported no progress yet" in str(nothing.exception)

    look()
    assert list(tmp_path.iterdir()) == []
    with open_broker(url) as broker:
        look()
        assert broker.topics() == []
        create_topics(broker, TOPICS)
    look()


class UnavailableReader:
    """A reader whose broker is unavailable for a while."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)

    def receive(self, timeout: float) -> Message | None:  # noqa: ARG002 - the signature of the protocol
        if not self.answers:
            return None
        payload = self.answers.pop(0)
        if payload is None:
            raise BrokerUnavailable("the broker is unavailable")
        return Message(1, payload, None, {})


def test_watch_waits_for_an_unavailable_broker(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.0)
    done = snapshot(ProgressPhase.DONE, 12)
    shown: list[Progress] = []
    last = module.follow(
        UnavailableReader(None, None, done.model_dump_json().encode()), shown.append, module.Waiting("x", False)
    )
    assert shown == [last] == [done]
    assert caplog.text.count("the broker is unavailable; retrying") == 2
    with pytest.raises(BrokerUnavailable):
        module.follow(UnavailableReader(None), shown.append, module.Waiting("x", True))


@contextmanager
def watching(url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-P", "-m", "skymap_scanner", "watch", "-n", "a", "-b", url, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("made", ["nothing", "topics"])
def test_watch_waits_for_the_scan_and_ends_with_it(url: str, made: str) -> None:
    if made == "topics":
        with open_broker(url) as broker:
            create_topics(broker, TOPICS)
    with watching(url, "--json") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "has reported no progress yet: waiting (Ctrl-C to stop)" in process.stderr.readline()
        tell(url, ProgressPhase.SCANNING, 5)
        assert json.loads(process.stdout.readline())["levels"][0]["done"] == 5
        tell(url, ProgressPhase.DONE, 12)
        assert json.loads(process.stdout.readline())["levels"][0]["done"] == 12
        process.wait(30)
        assert process.returncode == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_the_watch(url: str) -> None:
    tell(url, ProgressPhase.SCANNING, 5)
    with watching(url) as process:
        assert process.stdout is not None
        assert "5/12 pixels" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.returncode == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == "Stopped."
