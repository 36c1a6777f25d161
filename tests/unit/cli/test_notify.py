"""``run --notify`` and ``notify``: which notices arrive, in which order and how often, also after kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from testing.waiting import eventually
from tests.unit.notices.examples import initial
from tests.unit.notices.receiver import Receiver
from tests.unit.results.conftest import make_bowl, make_scan

from skymap_api.exit_codes import ExitCode
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_scanner.cli.local_run import _announcing
from skymap_scanner.cli.notices import NoticeOptions, Notices, notice_of_result, read_options, retraction
from skymap_scanner.cli.scan_folder import discard_scan
from skymap_scanner.errors import InputError
from skymap_scanner.notices.destination import Destination
from skymap_scanner.notices.outbox import Outbox
from skymap_scanner.results import ScanResult, write_results
from skymap_scanner.scan.plan_entries import EventFacts

SECRET = "correct horse battery staple"  # noqa: S105 - of these tests

#: The event of the results here, before its scan.
GOLD = EventFacts(
    name="IC231202A",
    run=138632,
    event=31747601,
    mjd=60280.71416774572,
    kind="gfu-gold",
    real=True,
    metadata_topics=(),
)


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
def test_run_sends_initial_notice_and_result_once(tmp_path):
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


def test_event_keeps_the_name_by_date_without_letter(folder):
    """A later command without --letter has nothing new to say."""
    with Receiver().running() as receiver:
        to = f"webhook={receiver.url}"
        for words in (["--letter", "B"], [], ["--letter", "C"], []):
            assert command("notify", folder, "--to", to, *words)[0] == 0
        names = [one["summary"]["name"] for one in bodies(receiver)]
    assert names == ["IceCube-231202B", "IceCube-231202C"]


def test_refused_notice_exits_1_and_is_sent_later(folder):
    with Receiver((404, {}), (200, {})).running() as receiver:
        code, output = command("notify", folder, "--to", f"webhook={receiver.url}")
        again = command("notify", folder, "--to", f"webhook={receiver.url}")
    assert again[0] == 0, again
    assert len(set(receiver.keys)) == 1 < len(receiver.keys)
    assert code == 1
    assert "NOT delivered" in output
    assert "404" in output
    assert json.loads((folder / "notices.json").read_text())["entries"][0]["state"] == "sent"


def test_dry_run_sends_and_keeps_nothing(folder):
    code, output = command("notify", folder, "--to", "gcn", "--dry-run")
    document, _, topic = output.rpartition("Topic at GCN: ")
    assert (code, json.loads(document)["ra"]) == (0, 138.6035)
    assert topic.strip() == "gcn.notices.icecube.gold_bronze_track_alerts"
    assert not (folder / "notices.json").exists()


def test_event_without_gcn_topic_is_not_added_to_the_outbox(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYMAP_GCN_BROKER", "127.0.0.1:9")
    write_results(make_scan(make_bowl(138.65, 0.15, 0.3)), tmp_path, ["json"])
    code, output = command("notify", tmp_path, "--to", "gcn")
    assert code == 1
    assert "give gcn=TOPIC" in output
    assert not (tmp_path / "notices.json").exists()


def notices_to(url: str, folder: Path) -> Notices:
    return Notices(folder, NoticeOptions((Destination("webhook", "webhook", url, SECRET.encode()),)))


def test_refused_notice_is_not_retried_after_a_later_one(folder):
    """The destination refused the initial notice and accepted the result, so nothing is left to send."""
    with Receiver((404, {}), (200, {})).running() as receiver:
        with notices_to(receiver.url, folder) as notices:
            notices.begin(GOLD)
            assert notices.end() is ExitCode.ERROR  # says so once
        with notices_to(receiver.url, folder) as notices:
            assert notices.end() is ExitCode.DONE
    assert [one["type"] for one in bodies(receiver)] == ["initial", "update"]


def test_mapped_result_is_sent_at_once_and_not_again(folder):
    with Receiver().running() as receiver, notices_to(receiver.url, folder) as notices:
        notices.begin(GOLD)
        notices.mapped()
        eventually(lambda: len(receiver.received) == 2)
        notices.mapped()
        assert notices.end() is ExitCode.DONE
    assert [one["type"] for one in bodies(receiver)] == ["initial", "update"]


def test_notice_with_links_waits_for_the_files(folder):
    with Receiver().running() as receiver, notices_to(receiver.url, folder) as notices:
        notices._options = replace(notices._options, results_url="https://x.org/a")
        notices.mapped()
        assert notices.outbox.entries == []
        write_results(ScanResult.read(next(folder.glob("run*.json"))), folder, ["fits"])
        assert notices.end() is ExitCode.DONE
    (sent,) = bodies(receiver)
    assert sent["links"]["map"].endswith(".multiorder.fits")


def test_mapped_leaves_errors_to_the_end(tmp_path):
    with Receiver().running() as receiver, notices_to(receiver.url, tmp_path) as notices:
        notices.mapped()
        with pytest.raises(InputError, match="holds no result"):
            notices.end()


class Counting:
    """Counts how often the result is announced."""

    calls = 0

    def mapped(self) -> None:
        self.calls += 1


def test_run_announces_once_the_first_file_is_written():
    shown: list[Progress] = []
    notices = Counting()
    both = _announcing(shown.append, notices)
    fits = FitCounts(done=1, started=1, planned=1)
    snapshot = Progress(
        name="x", phase=ProgressPhase.SCANNING, levels=(), fits=fits, rate=0, eta=None, elapsed=1, best=None
    )
    for phase, outputs, calls in [("scanning", (), 0), ("writing", (), 0), ("writing", ("a.json",), 1)]:
        both(snapshot.model_copy(update={"phase": ProgressPhase(phase), "outputs": outputs}))
        assert notices.calls == calls
    assert len(shown) == 3


def test_result_of_retracted_event_is_sent_only_by_hand(folder):
    with Receiver().running() as receiver:
        with notices_to(receiver.url, folder) as notices:
            notices.begin(GOLD)
            options = notices._options
            notices.send(retraction(notices.outbox, folder, options, "LEDs"))
        with notices_to(receiver.url, folder) as notices:
            notices.begin(GOLD)
            assert notices.end() is ExitCode.DONE
        assert [one["type"] for one in bodies(receiver)] == ["initial", "retraction"]
        with notices_to(receiver.url, folder) as notices:
            notices.send(notice_of_result(notices.outbox, folder, options, comment="It was real."))
    assert [one["type"] for one in bodies(receiver)] == ["initial", "retraction", "update"]


def test_event_without_gcn_topic_is_rejected_before_its_scan(tmp_path):
    options = NoticeOptions((Destination("gcn", "gcn", ""),))
    with Notices(tmp_path, NoticeOptions(())) as notices:
        notices._options = options
        with pytest.raises(InputError, match="give gcn=TOPIC"):
            notices.begin(GOLD.model_copy(update={"kind": "unknown"}))
        assert notices.outbox.entries == []
        notices.begin(GOLD)
    assert len(notices.outbox.entries) == 1


@pytest.mark.parametrize(
    ("texts", "url", "message"),
    [
        (["slack"], "https://[x", "be a valid URL"),
        (["slack"], "https://", "be a valid URL"),
        (["slack"], "https://x.org/a b", "be a valid URL"),
        (["slack"], "https://me:hidden@x.org/", "must not hold a user"),
        (["slack"], "https://x.org/?token=hidden", "must not hold a user"),
        (["slack"], "https://x.org/#hidden", "must not hold a user"),
        (["gcn", "gcn=gcn.notices.icecube.x"], "", "gcn is given twice"),
        (["gcn=typo"], "", "the topics of GCN"),
    ],
)
def test_invalid_options_are_one_error_even_unchecked(texts, url, message):
    with pytest.raises(InputError, match=message) as failure:
        read_options(tuple(texts), url, None, checked=False)
    assert "hidden" not in str(failure.value)


MANIFEST = """\
apiVersion: skymap.icecube.wisc.edu/v1alpha1
kind: SkymapScan
metadata: {name: demo}
spec:
  event: {simulate: {topology: track, ra: 77.4, dec: 5.7, energy: 1.0e+6, seed: 1}}
  levels: [{nside: 1}]
  output: {formats: [fits]}
"""


@pytest.mark.parametrize("of_manifest", [True, False])
def test_formats_must_suffice_for_notices(tmp_path, of_manifest):
    (tmp_path / "scan.yaml").write_text(MANIFEST)
    words = [tmp_path / "scan.yaml"] if of_manifest else ["demo", "--format", "fits"]
    code, output = command("run", *words, "-o", tmp_path / "result", "--notify", "webhook=http://127.0.0.1:9/")
    assert (code, (tmp_path / "result").exists()) == (2, False), output
    assert "choose the format json" in output


def test_restart_drops_unsent_notices(folder):
    Outbox(folder).add(initial(), {"webhook": "webhook"})
    discard_scan(folder, "demo", None)
    assert Outbox(folder).entries == []


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
    """Kill the command five times while the server withholds its answer, and five times at a random moment."""
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
