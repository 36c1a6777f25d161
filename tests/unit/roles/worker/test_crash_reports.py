from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.access import embedded_url
from skymap_scanner.roles.worker import crash_reports
from skymap_scanner.roles.worker.crash_reports import (
    CrashReport,
    CrashWatch,
    decode_crash_report,
    reason_to_give_up,
    task_identity,
)

PROPERTIES = {"metadata_topics": "mf_a;mf_b", "reconstruction": "dummy", "reconstruction_parameters": "{}"}


def report(attempt: str = "a-1", task: str = "t", hung_at: str = "") -> CrashReport:
    return CrashReport(task=task, name="pixel 7 of nside 8, seed 3", attempt=attempt, limit=600.0, hung_at=hung_at)


def test_crash_report_round_trips_and_other_messages_are_none() -> None:
    assert decode_crash_report(report(hung_at="File x").encode()) == report(hung_at="File x")
    for payload in (b"", b"{}", b"[]", b"\xff", b'{"task": 3}', b"\n" * 100):
        assert decode_crash_report(payload) is None


def test_task_identity_depends_on_frame_event_and_reconstruction() -> None:
    one = task_identity(b"frame", PROPERTIES)
    assert task_identity(b"frame", {**PROPERTIES, "sent": "again"}) == one
    others = [task_identity(b"frame2", PROPERTIES)]
    others += [task_identity(b"frame", {**PROPERTIES, name: "x"}) for name in PROPERTIES]
    assert len({one, *others}) == 5


def test_crashes_are_counted_by_task_without_duplicates(tmp_path: Path) -> None:
    sent = [("x", "1"), ("y", "1"), ("x", "2"), ("x", "1"), ("x", "2"), ("y", "1")]
    found = [report(attempt, task) for task, attempt in sent]

    def find_crashes(publish: Callable[[CrashReport], None]) -> None:
        for crash in found:
            publish(crash)

    topic = "persistent://icecube/skymap/scan-crash_reports"
    with open_broker(embedded_url(tmp_path / "broker.sqlite")) as broker:
        with broker.producer(topic, "another program") as producer:
            producer.send(Outgoing(b"?"))
        with CrashWatch(broker, topic, find_crashes, most=10) as watch:
            watch.poll()
            assert [watch.of(task) for task in "xyz"] == [(None, None), (None,), ()]


def test_reports_of_others_take_limited_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_reports, "MAX_TASKS", 5)
    topic = "persistent://icecube/skymap/scan-crash_reports"
    found = [report(f"{number}", f"{task}", hung_at="File x") for task in range(8) for number in range(20)]
    with open_broker(embedded_url(tmp_path / "broker.sqlite")) as broker:
        with broker.producer(topic, "another program") as producer:
            producer.send(*(Outgoing(one.encode()) for one in found))
        with CrashWatch(broker, topic, lambda _: None, most=3) as watch:
            watch.poll()
            assert [watch.of(f"{task}") for task in range(8)] == [()] * 3 + [(600.0,) * 3] * 5


@pytest.mark.parametrize("field", ["task", "name", "attempt", "hung_at"])
def test_report_with_a_long_text_is_none(field: str) -> None:
    content = json.loads(report().encode())
    assert decode_crash_report(json.dumps(content | {field: "x" * 5000}).encode()) is None


@pytest.mark.parametrize(
    ("ended", "hung", "reason"),
    [
        (3, 0, "given up after 3 attempts: 3 ended their worker (killed or crashed)"),
        (0, 3, "given up after 3 attempts: 3 took longer than 600 s"),
        (1, 2, "given up after 3 attempts: 1 ended their worker (killed or crashed), 2 took longer than 600 s"),
    ],
)
def test_reason_distinguishes_crashes_from_hangs(ended: int, hung: int, reason: str) -> None:
    assert reason_to_give_up([None] * ended + [600.0] * hung) == reason
