"""The process of a role on this machine: started, watched, restarted."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymap_scanner.errors import SkymapError
from skymap_scanner.roles.restart_policy import Outcome, RestartPolicy

log = logging.getLogger(__name__)

#: Free disk space (bytes) below which a role can write neither its messages nor its log.
MIN_FREE = 1 << 20

#: One thread per worker: the fits run side by side, and a thread pool in each worker would make them ten times slower.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass
class LocalRole:
    """Runs ``command`` until it has finished; its output is appended to ``log_file``."""

    name: str
    command: Sequence[str]
    log_file: Path
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    finished: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _not_before: float = 0.0

    def update(self) -> None:
        """Start the process if it does not run and is due; note whether it has finished.

        Raises
        ------
        SkymapError
            If it reported an error, or crashes repeatedly.
        """
        if self.finished:
            return
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._close()
            self._process = None
            if code == 0:
                self.finished = True
                return
            self._handle_failure(code)
        if time.monotonic() >= self._not_before:
            self._start()

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
            self._process.wait()
        self._close()

    def _handle_failure(self, code: int) -> None:
        now = time.monotonic()
        match self.policy.outcome(code, now - self._started):
            case Outcome.FAILED:
                raise SkymapError(f"{self.name} failed: {self._last_line()}")
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

    def _start(self) -> None:
        self._started = time.monotonic()
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=os.environ | ONE_THREAD
            )

    def _last_line(self) -> str:
        folder = self.log_file.parent
        if shutil.disk_usage(folder).free < MIN_FREE:
            return f"the disk of {folder} is full. Free some space; the same command then resumes the scan"
        lines = self.log_file.read_text(errors="replace").splitlines()
        return lines[-1].removeprefix("Error: ") if lines else "none"

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
