"""``run --notify`` and ``notify``: what arrives, in which order, how often, and after kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from testing.waiting import eventually
from tests.unit.notices.receiver import Receiver
from tests.unit.results.conftest import make_bowl, make_scan

from skymap_scanner.results import write_results

SECRET = "correct horse battery staple"  # noqa: S105 - of these tests


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "skymap_scanner", *map(str, words)],
        env=os.environ | {"SKYMAP_NOTIFY_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(*words: str | Path) -> tuple[int, str]:
    process = start(*words)
    output, errors = process.communicate(timeout=200)
    return process.returncode, output + errors


@pytest.fixture
def folder(tmp_path) -> Path:
    write_results(make_scan(make_bowl(138.65, 0.15, 0.3), event_type="gfu-gold"), tmp_path, ["json"])
    return tmp_path


def bodies(receiver: Receiver) -> list[dict]:
    return [json.loads(body) for _, body in receiver.received]


@pytest.mark.slow
def test_run_sends_begin_and_result_once(tmp_path):
    words = ["run", "demo", "-o", tmp_path, "--reconstruction", "dummy", "--levels", "4:0", "16:12", "--workers", "1"]
    with Receiver().running() as receiver:
        to = f"webhook={receiver.url}"
        code, output = command(*words, "--notify", to, "--results-url", "https://x.org/a")
        assert code == 0, output
        first, last = bodies(receiver)
        assert (first["type"], first["number"], first["summary"]["best_fit"]) == ("initial", 0, None)
        assert (last["type"], last["number"], last["summary"]["complete"]) == ("update", 1, True)
        assert last["summary"] == json.loads(next(tmp_path.glob("*.summary.json")).read_text())
        for key in ("map", "picture", "report"):
            assert (tmp_path / last["links"][key].removeprefix("https://x.org/a/")).exists()
        assert {one["tense"] for one in (first, last)} == {"test"}
        assert first["summary"]["event_id"] == last["summary"]["event_id"] == 8

        code, output = command(*words, "--notify", to, "--results-url", "https://x.org/a")
        assert (code, len(receiver.received)) == (0, 2), output

        code, output = command("notify", tmp_path, "--to", to, "--retract", "--comment", "LEDs")
        assert code == 0, output
        assert len(receiver.received) == 3
        withdrawn = bodies(receiver)[2]
        assert (withdrawn["type"], withdrawn["number"], withdrawn["comment"]) == ("retraction", 2, "LEDs")
        assert withdrawn["summary"]["best_fit"] is None


def test_finished_result_is_sent_by_hand(folder):
    with Receiver().running() as receiver:
        to = f"webhook={receiver.url}"
        code, output = command("notify", folder, "--to", to, "--type", "update")
        assert (code, bodies(receiver)[0]["number"], bodies(receiver)[0]["type"]) == (0, 1, "update"), output
        code, output = command("notify", folder, "--to", to)
        assert (code, len(receiver.received)) == (0, 1), output
        code, output = command("notify", folder, "--to", to, "--to", f"cloudevents={receiver.url}")
        assert (code, len(receiver.received)) == (0, 2), output
        assert bodies(receiver)[1]["id"] == bodies(receiver)[0]["key"]
        assert SECRET not in output + (folder / "notices.json").read_text()


def test_retraction_has_the_name_that_was_sent(folder):
    with Receiver().running() as receiver:
        to = f"webhook={receiver.url}"
        assert command("notify", folder, "--to", to, "--letter", "B")[0] == 0
        assert command("notify", folder, "--to", to, "--retract", "--comment", "LEDs")[0] == 0
        for path in folder.glob("run*"):
            path.unlink()
        assert command("notify", folder, "--to", to, "--retract", "--comment", "LEDs, surely")[0] == 0
        assert [one["type"] for one in bodies(receiver)] == ["initial", "retraction", "retraction"]
        assert {one["summary"]["name"] for one in bodies(receiver)} == {"IceCube-231202B"}
        assert all("IceCube-231202B" in one["text"] for one in bodies(receiver))


def test_undelivered_notice_exits_75_and_stays(folder):
    with Receiver((404, {})).running() as receiver:
        code, output = command("notify", folder, "--to", f"webhook={receiver.url}")
    assert code == 75
    assert "NOT delivered" in output
    assert "404" in output
    assert json.loads((folder / "notices.json").read_text())["entries"][0]["state"] == "failed"


def test_dry_run_sends_and_keeps_nothing(folder):
    code, output = command("notify", folder, "--to", "gcn", "--dry-run")
    assert (code, json.loads(output)["ra"]) == (0, 138.6035)
    assert not (folder / "notices.json").exists()


def test_event_without_a_topic_at_gcn_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYMAP_GCN_BROKER", "127.0.0.1:9")
    write_results(make_scan(make_bowl(138.65, 0.15, 0.3)), tmp_path, ["json"])
    code, output = command("notify", tmp_path, "--to", "gcn")
    assert code == 1
    assert "give gcn=TOPIC" in output
    assert not (tmp_path / "notices.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--retract"], "--retract needs --comment"),
        (["--retract", "--comment", "x", "--type", "update"], "--retract needs --comment"),
        (["--results-url", "file:///etc"], "must begin with https"),
        (["--to", "slack=https://hooks.slack.com/services/T/B/x"], "SKYMAP_NOTIFY_SLACK_URL"),
    ],
)
def test_wrong_options_are_explained_and_send_nothing(folder, words, message):
    with Receiver().running() as receiver:
        code, output = command("notify", folder, "--to", f"webhook={receiver.url}", *words)
    assert code in {1, 2}
    assert message in output
    assert receiver.received == []


@pytest.mark.slow
def test_killed_sender_loses_nothing_and_keeps_the_key(folder):
    """Ten kills: five while the server holds its answer back, so that it has the notice, and five at random."""
    chance = random.Random(5)
    hold = {"on": True}
    with Receiver().running() as receiver:
        receiver.before_answer = lambda: eventually(lambda: not hold["on"], within=30)
        for number in range(10):
            arrived = len(receiver.received)
            process = start("notify", folder, "--to", f"webhook={receiver.url}")
            if number % 2:
                eventually(lambda arrived=arrived: len(receiver.received) > arrived, within=60)
            else:
                time.sleep(chance.uniform(0.2, 2.0))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        hold["on"] = False
        code, output = command("notify", folder, "--to", f"webhook={receiver.url}")
        assert code == 0, output
        assert len(receiver.received) >= 6
        assert len(set(receiver.keys)) == len({body for _, body in receiver.received}) == 1
        before = len(receiver.received)
        code, output = command("notify", folder, "--to", f"webhook={receiver.url}")
        assert (code, len(receiver.received)) == (0, before)
