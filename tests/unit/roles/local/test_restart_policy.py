from __future__ import annotations

import signal

import pytest

from skymap_api.exit_codes import ExitCode
from skymap_scanner.roles.local.local_role import MAX_CRASHES, MAX_KILLS, RESET_AFTER, Outcome, RestartPolicy

AWAY, STOPPED = ExitCode.UNAVAILABLE, ExitCode.TERMINATED


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1, Outcome.FAILED),
        (2, Outcome.FAILED),
        (ExitCode.OTHER_SOFTWARE, Outcome.FAILED),
        (AWAY, Outcome.UNAVAILABLE),
        (STOPPED, Outcome.STOPPED),
        (128 + signal.SIGINT, Outcome.STOPPED),
        (70, Outcome.CRASHED),
        (-signal.SIGKILL, Outcome.CRASHED),
    ],
)
def test_exit_code_decides_the_outcome(code: int, outcome: Outcome) -> None:
    assert RestartPolicy().outcome(code, 0.0) is outcome


@pytest.mark.parametrize(("code", "most"), [(70, MAX_CRASHES), (-signal.SIGKILL, MAX_KILLS)])
def test_role_is_given_up_after_repeated_crashes(code: int, most: int) -> None:
    policy = RestartPolicy()
    for other in (STOPPED, AWAY):  # neither counts as a crash
        policy.outcome(other, 0.0)
    outcomes = [policy.outcome(code, 0.0) for _ in range(most)]
    assert outcomes == [*[Outcome.CRASHED] * (most - 1), Outcome.GIVEN_UP]
    policy.reset()
    assert policy.outcome(code, 0.0) is Outcome.CRASHED


def test_set_up_that_hangs_is_given_up_earlier_than_a_task() -> None:
    policies = RestartPolicy(), RestartPolicy()
    policies[1].tasks_crash = True
    for policy, most in zip(policies, (MAX_CRASHES, MAX_KILLS), strict=True):
        outcomes = [policy.outcome(-signal.SIGALRM, 600.0) for _ in range(most)]
        assert outcomes == [*[Outcome.CRASHED] * (most - 1), Outcome.GIVEN_UP]


def test_back_off_doubles_to_half_a_minute_and_is_reset() -> None:
    policy, pauses = RestartPolicy(), []
    for ran_for in (*[0.0] * 7, RESET_AFTER + 1, 0.0):
        policy.outcome(AWAY, ran_for)
        pauses.append(policy.pause())
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 1, 2]
    policy.waits = 5000
    assert policy.pause() == 30
