"""The process of a role on this machine: started, watched, restarted."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import skymap_scanner
from skymap_api.exit_codes import NOT_COUNTED, PERMANENT, ExitCode
from skymap_scanner.errors import InputError, SkymapError, SoftwareMismatchError, TooLittleMemoryError

log = logging.getLogger(__name__)

#: Free disk space (bytes) below which a role can write neither its messages nor its log.
MIN_FREE = 1 << 20

#: One thread per worker: the fits run side by side, and a thread pool in each worker would make them ten times slower.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

#: Prefixes of the environment variables with the addresses and secrets of notices, which only `run` sends.
OF_NOTICES = ("SKYMAP_NOTIFY_", "SKYMAP_GCN_")

#: The folder of the package that runs, and the variable in which `run` tells its own to the roles.
PACKAGE = Path(skymap_scanner.__file__).resolve().parent
STARTED_BY = "SKYMAP_STARTED_BY"

#: Consecutive crashes without progress after which a role is given up: MAX_CRASHES for its own error exits, MAX_KILLS
#: for signals, since an OOM kill may be temporary. Both are counted together; the last one decides which limit applies.
#: The signal of the time limit counts as an error while no task has crashed: the set-up hangs, and will again. A task
#: that hangs is given up by the workers themselves, after more attempts than MAX_CRASHES.
MAX_CRASHES, MAX_KILLS = 5, 30

#: Back-off before a role that could not reach the broker is restarted (s): the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

#: Run time (s) after which the next back-off is the first again.
RESET_AFTER = 60.0

#: Time for a killed process to disappear (s): a busy machine needs some, and one in an unkillable wait never does.
KILL_TIMEOUT = 10.0

#: Errors of a role that `run` passes on as they are, by their exit codes.
ERRORS: dict[int, type[SkymapError]] = {
    ExitCode.OTHER_SOFTWARE: SoftwareMismatchError,
    ExitCode.TOO_LITTLE_MEMORY: TooLittleMemoryError,
}


def child_environment() -> dict[str, str]:
    """Return the environment of a process that `run` starts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OF_NOTICES)} | ONE_THREAD


def check_installation() -> None:
    """Check, in a role, that it is the same installation as the `run` that started it; raises InputError if not."""
    started_by = os.environ.get(STARTED_BY, str(PACKAGE))
    if started_by != str(PACKAGE):
        raise InputError(
            f"run is the scanner of {started_by}, but Python finds that of {PACKAGE} for the roles: start the command "
            "skymap-scanner of one installation, not python -m in a folder with another"
        )


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
        #: Whether a task has crashed its worker, so that a worker at its time limit may have been fitting.
        self.tasks_crash = False

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
        set_up_hangs = code == -signal.SIGALRM and not self.tasks_crash
        most = MAX_CRASHES if code > 0 or set_up_hangs else MAX_KILLS
        return Outcome.GIVEN_UP if self.crashes >= most else Outcome.CRASHED

    def pause(self) -> float:
        """Return the time to wait for the broker before the next start (s)."""
        return min(FIRST_PAUSE * 2.0 ** min(self.waits - 1, 10), LONGEST_PAUSE)

    def reset(self) -> None:
        """Forget crashes and attempts, because the scan makes progress."""
        self.crashes = self.waits = 0


class RoleProcess(Protocol):
    """The process of a role: the part of `subprocess.Popen` that is used here."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Send SIGTERM, unless the process has ended."""

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""


#: Starts a role from its name, its command line, and the file to which its output is appended.
StartRole = Callable[[str, Sequence[str], Path], RoleProcess]


@dataclass
class LocalRole:
    """Runs a role until it has finished; ``words``: its command line, ``log_file``: receives its output."""

    name: str
    words: Sequence[str]
    log_file: Path
    start: StartRole
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    finished: bool = False
    _process: RoleProcess | None = None
    _started: float = 0.0
    _not_before: float = 0.0

    def update(self) -> None:
        """Start the process if it does not run and is due; note whether it has finished.

        Raises SkymapError if it reported an error, or crashes repeatedly; SoftwareMismatchError if another software has
        begun the scan.
        """
        if self.finished:
            return
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            if code == 0:
                self.finished = True
                return
            self._handle_failure(code)
        if time.monotonic() >= self._not_before:
            self._started = time.monotonic()
            self._process = self.start(self.name, self.words, self.log_file)

    def terminate(self) -> None:
        """Ask the process to stop after the message that it is working on."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, timeout: float) -> None:
        """Wait for the end of the process; kill it after ``timeout`` seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                self._process.wait(KILL_TIMEOUT)
            except subprocess.TimeoutExpired:
                log.warning("%s does not end, %g s after it was killed", self.name, KILL_TIMEOUT)

    def _handle_failure(self, code: int) -> None:
        now = time.monotonic()
        match self.policy.outcome(code, now - self._started):
            case Outcome.FAILED:
                error = ERRORS.get(code, SkymapError)
                raise error(f"{self.name} failed: {self._last_line()}")
            case Outcome.UNAVAILABLE:
                if self.policy.waits == 1:  # log the first attempt of a series only
                    log.warning("the broker is unavailable; %s waits for it (%s)", self.name, self._last_line())
                self._not_before = now + self.policy.pause()
            case Outcome.STOPPED:
                log.warning("%s was stopped; restarting it", self.name)
            case Outcome.CRASHED:
                log.warning("%s crashed (exit code %d); restarting it", self.name, code)
            case Outcome.GIVEN_UP:
                raise SkymapError(
                    f"{self.name} crashed {self.policy.crashes} times in a row (exit code {code}); its last log line: "
                    f"{self._last_line()}. The log: {self.log_file}"
                )

    def _last_line(self) -> str:
        folder = self.log_file.parent
        if shutil.disk_usage(folder).free < MIN_FREE:
            return f"the disk of {folder} is full. Free some space; the same command then resumes the scan"
        lines = self.log_file.read_text("utf-8", "replace").splitlines()
        return lines[-1].removeprefix("Error: ") if lines else "none"
