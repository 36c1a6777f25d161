"""Decides what follows when the process of a role ends."""

from __future__ import annotations

from enum import Enum, auto

from skymap_api.exit_codes import NOT_COUNTED, PERMANENT, ExitCode

#: Consecutive crashes without progress after which a role is given up: by its own fault, and when something else kills
#: it, which may stop again.
MAX_CRASHES, MAX_KILLS = 5, 30

#: Back-off before a role that could not reach the broker is restarted (s), and run time after which it is reset (s).
FIRST_PAUSE, LONGEST_PAUSE, RESET_AFTER = 1.0, 30.0, 60.0


class Outcome(Enum):
    """Why a process ended before its work was done."""

    #: It reported an error that would occur again.
    FAILED = auto()
    #: It could not reach the broker.
    UNAVAILABLE = auto()
    #: Somebody else has stopped it.
    STOPPED = auto()
    #: It crashed or was killed.
    CRASHED = auto()
    #: It has crashed too often.
    GIVEN_UP = auto()


class RestartPolicy:
    """Counts the crashes of a role, and the attempts at which the broker could not be reached; does no I/O."""

    def __init__(self) -> None:
        self.crashes = 0
        self.waits = 0

    def outcome(self, code: int, ran_for: float) -> Outcome:
        """Return why a process ended, from its exit code (not 0; negative: a signal) and its run time (s)."""
        if code in PERMANENT:
            return Outcome.FAILED
        if code == ExitCode.UNAVAILABLE:
            self.waits = 1 if ran_for > RESET_AFTER else self.waits + 1
            return Outcome.UNAVAILABLE
        if code in NOT_COUNTED:
            return Outcome.STOPPED
        self.crashes += 1
        return Outcome.GIVEN_UP if self.crashes >= (MAX_KILLS if code < 0 else MAX_CRASHES) else Outcome.CRASHED

    def pause(self) -> float:
        """Return the time to wait for the broker before the next start (s)."""
        return min(FIRST_PAUSE * 2.0 ** min(self.waits - 1, 10), LONGEST_PAUSE)

    def reset(self) -> None:
        """Forget crashes and attempts, because the scan makes progress."""
        self.crashes = self.waits = 0
