"""A saver that sends notices: their contents, and that notices never fail a scan."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from tests.unit.notices.receiver import Receiver

from skymap_api.progress import decode_progress
from skymap_api.resource.status import NoticesStatus
from skymap_scanner.cli.notices import NoticeOptions, Notices
from skymap_scanner.cli.saver_notices import SaverNotices
from skymap_scanner.errors import BrokerUnavailable, InputError
from skymap_scanner.notices.destination import Destination
from skymap_scanner.notices.outbox import FILE
from skymap_scanner.roles.saver.saver import save
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.plan_entries import ScanEntry


@pytest.fixture
def finished(scan):
    """A finished scan, whose files `saved` writes again."""
    one = scan("1:0 4:3")
    one.run()
    return one


def saved(one, announcer, formats=("json", "npz")) -> bool:
    settings = replace(one.saver, formats=formats)
    with one.open() as broker:
        return save(broker, one.topics, settings, Stop(), announcer=announcer)


def options(url: str) -> NoticeOptions:
    return NoticeOptions((Destination("webhook", "webhook", url, b"s" * 24),))


def bodies(receiver: Receiver) -> list[dict]:
    return [json.loads(body) for _, body in receiver.received]


def test_restarted_saver_repeats_no_notice(finished):
    with Receiver().running() as receiver:
        for _ in range(2):  # the second is a saver that runs again
            assert saved(finished, SaverNotices(finished.folder, lambda: options(receiver.url), Stop()))
    first, last = bodies(receiver)
    assert (first["type"], first["summary"]["best_fit"]) == ("initial", None)
    assert (last["type"], last["summary"]["complete"]) == ("update", True)
    assert first["summary"]["name"] == last["summary"]["name"]


def told(one) -> list[NoticesStatus]:
    """Return what the progress said about notices, without repetitions."""
    with one.open() as broker, broker.reader(one.topics.progress) as reader:
        messages = iter(lambda: reader.receive(0), None)
        found = [decode_progress(message.payload).notices for message in messages]
    return [notices for notices, _ in groupby(found) if notices is not None]


def test_progress_tells_which_notices_were_sent(finished):
    with Receiver((200, {}), (503, {}), (200, {})).running() as receiver:
        assert saved(finished, SaverNotices(finished.folder, lambda: options(receiver.url), Stop()))
    said = told(finished)
    states = [(one.type, one.state, one.message) for notices in said for one in notices.destinations]
    assert ("update", "Pending", "the server answered 503 Service Unavailable") in states, "while it tries again"
    (last,) = said[-1].destinations
    assert (last.to, last.type, last.state, last.message) == ("webhook", "update", "Sent", None)
    assert last.sent is not None
    assert [notices.ended for notices in said] == [False] * (len(said) - 1) + [True]


class Cut(SaverNotices):
    """Cannot reach the broker at first, when the notices have changed."""

    failures = 3

    def written(self, outputs: Sequence[Path], changed: Callable[[], None]) -> bool:
        def fail_at_first() -> None:
            if self.failures:
                self.failures -= 1
                raise BrokerUnavailable("no broker")
            changed()

        return super().written(outputs, fail_at_first)


def test_files_are_not_written_again_for_the_state_of_notices(finished, monkeypatch):
    monkeypatch.setattr("skymap_scanner.cli.saver_notices.SHOW_PAUSE", 0.05)
    with Receiver().running() as receiver:
        announcer = Cut(finished.folder, lambda: options(receiver.url), Stop())
        assert saved(finished, announcer), "an error here would make the saver read the whole scan again"
    assert announcer.failures == 0
    (last,) = told(finished)[-1].destinations
    assert (last.state, told(finished)[-1].ended) == ("Sent", True)


def test_broker_that_stays_away_ends_the_saver(finished, monkeypatch):
    monkeypatch.setattr("skymap_scanner.cli.saver_notices.SHOW_SECONDS", 0.1)
    monkeypatch.setattr("skymap_scanner.cli.saver_notices.SHOW_PAUSE", 0.05)
    monkeypatch.setattr(Cut, "failures", 1000)
    with Receiver().running() as receiver, pytest.raises(BrokerUnavailable):
        saved(finished, Cut(finished.folder, lambda: options(receiver.url), Stop()))


class Began(SaverNotices):
    """Notes what the status says when the scan has begun."""

    def began(self, scan: ScanEntry) -> None:
        super().began(scan)
        self.first = self.status()


def test_notices_of_another_event_are_not_shown(finished, monkeypatch):
    with Receiver().running() as receiver:
        assert saved(finished, SaverNotices(finished.folder, lambda: options(receiver.url), Stop()))
        outbox = json.loads((finished.folder / FILE).read_text())
        for entry in outbox["entries"]:
            entry["notice"]["summary"]["event_id"] += 1
        (finished.folder / FILE).write_text(json.dumps(outbox))

        def full(*_: object) -> None:
            raise InputError("the outbox is full")

        monkeypatch.setattr(Notices, "begin", full)
        announcer = Began(finished.folder, lambda: options(receiver.url), Stop())
        assert saved(finished, announcer)
    assert announcer.first.destinations == ()
    assert [one.type for one in announcer.status().destinations] == ["initial"], "the first of this event"


class Counting(SaverNotices):
    """Counts how often its status is made."""

    made = 0

    def status(self) -> NoticesStatus:
        self.made += 1
        return super().status()


def test_status_is_not_made_again_while_nothing_changes(finished):
    with Receiver().running() as receiver:
        receiver.before_answer = lambda: time.sleep(1)
        announcer = Counting(finished.folder, lambda: options(receiver.url), Stop())
        assert saved(finished, announcer)
    assert announcer.made < 30, "it validates every entry of the outbox"


class Looking(SaverNotices):
    """Notes which files of the result are there when it is announced."""

    there: tuple[str, ...] = ()

    def mapped(self, result: Path) -> None:
        self.there = tuple(sorted(path.suffix for path in result.parent.glob("run*")))
        super().mapped(result)


def test_result_is_announced_before_files_that_take_long(finished):
    for path in finished.folder.glob("run*"):
        path.unlink()
    with Receiver().running() as receiver:
        announcer = Looking(finished.folder, lambda: options(receiver.url), Stop())
        assert saved(finished, announcer, ("json", "summary", "png"))
    assert announcer.there == (".json",)
    assert [one["type"] for one in bodies(receiver)] == ["initial", "update"]
    assert list(finished.folder.glob("run*.png"))


def failing() -> NoticeOptions:
    raise InputError("notices are signed: set SKYMAP_NOTIFY_SECRET")


@pytest.mark.parametrize("fault", ["settings", "outbox", "folder", "formats"])
def test_faults_of_notices_do_not_fail_the_saver(finished, fault, caplog):
    formats = ("summary",) if fault == "formats" else ("json",)
    folder = finished.folder
    if fault == "outbox":
        (folder / FILE).write_text("{")
    if fault == "folder":
        folder = Path("/proc/none")
    if fault == "formats":
        for path in [*folder.glob("run*.npz"), *folder.glob("run*.json")]:
            path.unlink()
    with Receiver().running() as receiver:
        read = failing if fault == "settings" else lambda: options(receiver.url)
        assert saved(finished, SaverNotices(folder, read, Stop()), formats)
    assert "no notice about the result" in caplog.text
    last = told(finished)[-1]
    assert last.ended
    assert last.fault
    assert "\n" not in last.fault
    assert len(receiver.received) == (1 if fault == "formats" else 0)


def test_stop_ends_attempts_to_reach_a_failing_destination(finished):
    stop = Stop()
    with Receiver((503, {})).running() as receiver:
        receiver.before_answer = lambda: stop.request() if len(receiver.received) > 1 else None
        began = time.monotonic()
        assert not saved(finished, SaverNotices(finished.folder, lambda: options(receiver.url), stop))
    assert time.monotonic() - began < 20
    assert not told(finished)[-1].ended, "the next saver goes on"
    entries = json.loads((finished.folder / FILE).read_text())["entries"]
    assert [one["state"] for one in entries] == ["pending", "pending"]
