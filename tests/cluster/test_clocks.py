"""An operator whose machine's clock is wrong by minutes, on a real API server: nothing happens early, nor never."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.operators import OperatorProcess
from testing.cluster.scans import QUICK, manifest
from testing.waiting import consistently, eventually

SPEC = QUICK | {"event": {"simulate": {}}}


def skewed(seconds: int) -> tuple[str, ...]:
    """Return the program of an operator whose clock is ahead by so many seconds."""
    return sys.executable, "-m", "testing.cluster.skewed", str(seconds)


@pytest.mark.parametrize("ahead", [-600, 600])
def test_operator_with_a_wrong_clock_keeps_to_deadlines(
    operators: Callable[..., OperatorProcess], namespace: Namespace, ahead: int
) -> None:
    # No pod can start, since the image does not exist.
    namespace.apply(manifest(SPEC | {"startingDeadlineSeconds": 300}, "patient"))
    kept = {"startingDeadlineSeconds": 1, "ttlSecondsAfterFinished": {"failed": 300}}
    namespace.apply(manifest(SPEC | kept, "kept"))
    passing = {"startingDeadlineSeconds": 1, "ttlSecondsAfterFinished": {"failed": 2}}
    namespace.apply(manifest(SPEC | passing, "passing"))
    operator = operators(skewed(ahead))

    def phases() -> dict[str, str]:
        listed = namespace.get("skymapscans")["items"]
        return {one["metadata"]["name"]: one.get("status", {}).get("phase", "") for one in listed}

    def as_wanted(found: dict[str, str]) -> bool:
        return found == {"patient": "Pending", "kept": "Failed"}

    eventually(phases, as_wanted, 60)
    consistently(phases, as_wanted, 10)
    # how much is only as right as the first answers were quick
    found = re.search(r"this machine's clock is (\d+) s", operator.log.read_text())
    assert found is not None
    assert int(found[1]) == pytest.approx(abs(ahead), abs=10)
