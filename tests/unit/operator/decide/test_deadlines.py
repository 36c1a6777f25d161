"""When a scan misses a deadline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator.decisions import URL, observed, reconcile, running
from tests.unit.operator.world import SETTINGS, START

from skymap_api.resource.status import Phase, Reason
from skymap_operator.decide.deadlines import start_time
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.outcome import scan_outcome
from skymap_operator.decide.plan import decide
from skymap_operator.observe.state import ObservedScan, ObservedState, Pod


def found(state: ObservedState) -> Finding | None:
    assert state.scan.spec is not None
    return scan_outcome(state, state.scan.spec, SETTINGS)


@pytest.mark.parametrize(
    ("spec", "started", "elapsed", "finding"),
    [
        ({"activeDeadlineSeconds": 500}, True, 500, None),
        (
            {"activeDeadlineSeconds": 500},
            True,
            501,
            Finding(Reason.DEADLINE_EXCEEDED, "the scan did not finish within activeDeadlineSeconds: 500"),
        ),
        ({"activeDeadlineSeconds": 500}, False, 501, None),
        ({"activeDeadlineSeconds": 500, "suspend": True}, True, 501, None),
        ({"startingDeadlineSeconds": 200}, False, 200, None),
        (
            {"startingDeadlineSeconds": 200},
            False,
            201,
            Finding(Reason.NEVER_STARTED, "no pod started within startingDeadlineSeconds: 200"),
        ),
        ({"startingDeadlineSeconds": 200}, True, 201, None),
        ({"startingDeadlineSeconds": 200, "suspend": True}, False, 201, None),
        ({}, False, 10**9, None),
        ({"activeDeadlineSeconds": 2**31 - 1, "startingDeadlineSeconds": 2**31 - 1}, True, 10**9, None),
    ],
)
def test_missed_deadline_fails_the_scan(
    spec: dict[str, Any], started: bool, elapsed: int, finding: Finding | None
) -> None:
    pods = (Pod("a", "producer", "Running", started=START if started else None),)
    state = observed(URL | spec, pods=pods, now=START + timedelta(seconds=elapsed))
    assert found(state) == finding


@pytest.mark.parametrize("ahead", [-600, -3, 0, 3, 600])
def test_clock_of_a_node_moves_no_deadline(ahead: int) -> None:
    started = START + timedelta(seconds=20 + ahead)
    pod = Pod("a", "producer", "Running", created=START + timedelta(seconds=10), started=started)

    def state(now: int) -> ObservedState:
        return observed(URL | {"activeDeadlineSeconds": 500}, pods=(pod,), now=START + timedelta(seconds=now))

    first = start_time(state(25))
    assert first is not None
    assert timedelta(seconds=10) <= first - START <= timedelta(seconds=25)
    assert found(state(510)) is None
    assert (found(state(700)) is not None) is (ahead <= 3), "a node ahead delays it, until the status has the start"


def test_missed_start_names_the_obstacle() -> None:
    pod = Pod("a", "producer", unschedulable="0/3 nodes are available.")
    state = observed(URL | {"startingDeadlineSeconds": 9}, pods=(pod,), now=START + timedelta(seconds=10))
    ended = found(state)
    assert ended is not None
    assert ended.message.startswith(
        "no pod started within startingDeadlineSeconds: 9: a: 0/3 nodes are available. - the scan continues when"
    )


def test_pod_that_ended_before_a_suspension_starts_no_deadline_after_it() -> None:
    world = running(URL | {"activeDeadlineSeconds": 500}, passes=6, tasks=60)
    assert {pod["status"]["phase"] for name, pod in world.pods.items() if "producer" in name} == {"Succeeded"}
    for suspended in (True, False):
        world.scan["spec"]["suspend"] = suspended
        for _ in range(2):
            reconcile(world)
            world.step(5000 if suspended else 10)
    assert ObservedScan.of(world.scan).status.phase is Phase.SCANNING


def test_suspension_does_not_count_towards_deadlines() -> None:
    world = running(URL | {"activeDeadlineSeconds": 500, "startingDeadlineSeconds": 200}, passes=4)
    for suspended in (True, False):
        world.scan["spec"]["suspend"] = suspended
        for _ in range(2):
            for action in decide(world.observe(), SETTINGS).actions:
                world.apply(action)
            world.step(5000 if suspended else 10)
    assert ObservedScan.of(world.scan).status.phase is Phase.SCANNING
