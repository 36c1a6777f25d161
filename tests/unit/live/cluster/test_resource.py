"""What a page keeps of a SkymapScan."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

from tests.unit.live.cluster.conftest import condition, document, runs_with

from skymap_api.names import Names
from skymap_scanner.live.cluster.resource import MAX_MESSAGE, MAX_POINTS, Backlog, Pulsar, read_resource

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
RUNNING = {
    "phase": "Scanning",
    "pixels": {"done": 5, "planned": 12, "failed": 1},
    "best": {"nside": 1, "pixel": 3, "ra": 120.0, "dec": -5.5, "llh": 9.0, "area90": 2.5},
    "workers": {"desired": 4, "ready": 3, "busy": 2, "obstacle": "no room on the nodes"},
    "backlog": 7,
    "rate": 1.5,
    "eta": "2026-01-02T12:01:00Z",
    "runsWith": runs_with("pulsar://a:6650"),
}


def test_running_scan_is_read_with_its_numbers() -> None:
    one = read_resource(document(**RUNNING))
    assert (one.done, one.planned, one.failed) == (5, 12, 1)
    assert (one.ra, one.dec, one.area) == (120.0, -5.5, 2.5)
    assert (one.desired, one.ready, one.busy, one.backlog) == (4, 3, 2, 7)
    assert (one.workers, one.phase, one.finished) == ("no room on the nodes", "Scanning", False)
    assert one.pulsar == Pulsar("pulsar://a:6650", "http://admin", "icecube")
    assert one.topics("icecube") == Names.of("north", "alert").topics("icecube")
    assert one.seconds_left(NOW) == 60
    assert one.seconds_left(NOW + timedelta(hours=1)) == 0


def test_new_scan_has_no_numbers() -> None:
    one = read_resource(document())
    assert (one.phase, one.done, one.backlog, one.eta, one.pulsar, one.advice) == ("New", None, None, None, None, "")
    json.dumps(one.as_values(NOW), allow_nan=False)


def test_advice_is_that_of_the_condition_that_needs_it() -> None:
    fine = [condition("Succeeded", "Unknown", "InProgress"), condition("Progressing", "True", "Scanning", "busy")]
    assert read_resource(document(conditions=[*fine, condition("Degraded", "False", "AsExpected")])).advice == ""
    degraded = condition("Degraded", "True", "ClaimFull", "the claim is full - enlarge it")
    assert read_resource(document(conditions=[*fine, degraded])).advice == "ClaimFull: the claim is full - enlarge it"
    failed = condition("Succeeded", "False", "EventUnusable", "no event")
    assert read_resource(document(conditions=[failed])).advice == "EventUnusable: no event"


def test_long_and_hostile_messages_become_short_lines() -> None:
    words = condition("Degraded", "True", "RoleFailed", "<script>\x1b[2J\n" * 2000)
    one = read_resource(document(conditions=[words], spam="x" * 10**6))
    assert len(one.conditions[0].message) == MAX_MESSAGE
    assert one.conditions[0].message.isprintable()
    assert sys.getsizeof(json.dumps(one.as_values(NOW), default=str)) < 3000


def test_status_of_another_version_leaves_the_name() -> None:
    one = read_resource(document(phase="Dancing", backlog=4))
    assert (one.key, one.phase, one.backlog) == ("north.alert", "Unknown", None)
    assert "another version of the operator" in one.advice


def test_backlog_keeps_changes_within_its_bound() -> None:
    history = Backlog()
    for time in range(10_000):
        history.add(time, time // 2, 1)
    points = list(history)
    assert MAX_POINTS // 2 <= len(points) <= MAX_POINTS
    assert points[0] == (0.0, 0, 1)
    assert points[-1] == (9998.0, 4999, 1)
    assert [point[0] for point in points] == sorted({point[0] for point in points})
