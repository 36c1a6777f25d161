"""All roles on this machine: processes over a broker, started again when they die, until the result is there.

    run ─▶ producer, worker ×N, collector, saver ─▶ progress ─▶ whoever looks on

The broker is an embedded one in the scan's folder, or one that is shared: then other machines may add workers.
Everything that must survive is in the broker; this process may be killed at any time. Its children then see their
standard input close and end too; the same call again goes on where they stopped.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skymap_api.exit_codes import NOT_COUNTED, PERMANENT, ExitCode
from skymap_api.names import ScanTopics
from skymap_api.progress import Progress
from skymap_scanner.broker import Access, Reader, open_broker
from skymap_scanner.broker.url import embedded_url
from skymap_scanner.errors import BrokerUnavailable, InputError, SkymapError
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.roles.scans import latest_progress
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics

log = logging.getLogger(__name__)

BROKER_FILE = "scan.sqlite"

#: So many deaths in a row, without a pixel done meanwhile, and a role will not live longer the next time: by its own
#: fault, and when something else kills it (which may end as it began).
MAX_CRASHES, MAX_KILLS = 5, 30

#: Seconds before a role that could not reach the broker is started again: each time twice as long, and from the start
#: again when it has lived for a while.
FIRST_PAUSE, LONGEST_PAUSE, A_WHILE = 1.0, 30.0, 60.0

#: With less room than this (bytes) a role can write neither its messages nor its log.
FULL = 1 << 20

#: One thread a worker: the fits run side by side, and a pool of threads in each makes all of them ten times slower.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass(frozen=True)
class LocalScan:
    """One scan on this machine: ``event`` is the path that the producer reads, ``folder`` takes everything.

    ``shared`` is the URL of the broker where it is not the scan's own, and ``access`` what else it takes to reach it.
    Without ``workers``, the fits are left to workers elsewhere.
    """

    event: Path
    folder: Path
    settings: ScanSettings
    workers: int
    output: Path
    formats: Sequence[str] = ()
    max_task_seconds: float = 600.0
    shared: str | None = None
    access: Access = field(default_factory=Access)

    @property
    def broker(self) -> str:
        """URL of the broker."""
        return self.shared or embedded_url(self.folder / BROKER_FILE)


def broker_arguments(url: str, access: Access) -> list[str]:
    """Write where the broker is as the options that `cli.options.broker` reads: addresses and files, no secrets."""
    options = {
        "--admin-url": access.admin_url,
        "--auth-token": access.token_file,
        "--tls-trust-certs": access.trusted,
        "--tls-certificate": access.certificate,
        "--tls-key": access.key,
    }
    given = [(option, str(value)) for option, value in options.items() if value is not None]
    return ["--broker", url, *(word for pair in given for word in pair)]


def scan_arguments(settings: ScanSettings) -> list[str]:
    """Write ``settings`` as the options that ``cli.settings.scan_settings`` reads."""
    words = ["--levels", " ".join(map(str, settings.levels)), "--seeds", str(settings.seeds)]
    words += ["--reconstruction", settings.reconstruction, "--predictive", str(settings.predictive)]
    for key, value in settings.parameters.items():
        words += ["--parameter", f"{key}={json.dumps(value)}"]
    if settings.area is not None:
        words += ["--area", str(settings.area)]
    if settings.pixels is not None:
        words += ["--pixel-list", settings.pixels]
    if settings.pulse_series is not None:
        words += ["--pulses", settings.pulse_series]
    if settings.keep_all_seeds:
        words += ["--keep-all-seeds"]
    return words


def role_commands(scan: LocalScan) -> dict[str, list[str]]:
    """Return the command line of every role: just what a user would type to run it alone."""
    common = ["-n", scan.settings.name, *broker_arguments(scan.broker, scan.access)]
    saver = ["saver", *common, "-o", str(scan.output), "--results", str(scan.folder)]
    for one in scan.formats:
        saver += ["--format", one]
    commands = {
        "producer": ["producer", str(scan.event), *common, *scan_arguments(scan.settings)],
        "collector": ["collector", *common],
        "saver": saver,
    }
    for number in range(scan.workers):
        commands[f"worker-{number}"] = ["worker", *common, "--max-task-seconds", str(scan.max_task_seconds)]
    return {
        role: [sys.executable, "-m", "skymap_scanner", *words, "--end-with-parent"] for role, words in commands.items()
    }


@dataclass
class _Role:
    """One process: started, watched, started again."""

    name: str
    command: list[str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    waits: int = 0
    finished: bool = False
    started: float = 0.0
    not_before: float = 0.0

    def look(self) -> None:
        """Start the process if it does not run and may; note whether it has done its work.

        Raises
        ------
        SkymapError
            If it explained an error, or dies at once again and again.
        """
        if self.finished:
            return
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self._close()
            self.process = None
            if code == 0:
                self.finished = True
                return
            self._judge(code)
        if time.monotonic() >= self.not_before:
            self._start()

    def _judge(self, code: int) -> None:
        if code in PERMANENT:
            raise SkymapError(f"{self.name} cannot go on: {self._last_words()}")
        if code == ExitCode.UNAVAILABLE:
            self._wait_for_broker()
            return
        if code in NOT_COUNTED:  # somebody else stopped it
            log.warning("%s was stopped, starting it again", self.name)
            return
        self.deaths += 1
        if self.deaths >= (MAX_KILLS if code < 0 else MAX_CRASHES):
            raise SkymapError(
                f"{self.name} died {self.deaths} times in a row (exit code {code}); its last words: "
                f"{self._last_words()}. The whole log: {self.log_file}"
            )
        log.warning("%s died (exit code %d), starting it again", self.name, code)

    def _wait_for_broker(self) -> None:
        """Start again later: for as long as it takes, and said once."""
        now = time.monotonic()
        if now - self.started > A_WHILE:
            self.waits = 0
        if self.waits == 0:
            log.warning("the broker is away; %s waits for it (%s)", self.name, self._last_words())
        self.not_before = now + pause_before(self.waits)
        self.waits += 1

    def _start(self) -> None:
        self.started = time.monotonic()
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                self.command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=os.environ | ONE_THREAD
            )

    def _last_words(self) -> str:
        folder = self.log_file.parent
        if shutil.disk_usage(folder).free < FULL:
            return f"the disk of {folder} is full. Make room, then the same command goes on"
        lines = self.log_file.read_text(errors="replace").splitlines()
        return lines[-1].removeprefix("Error: ") if lines else "none"

    def end(self, patience: float) -> None:
        """Ask the process to end; kill it when ``patience`` seconds are not enough."""
        if self.process is None:
            return
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def ask(self) -> None:
        """Ask the process to end after what it has in hand."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


def pause_before(waits: int) -> float:
    """Return the seconds to wait for the broker after it was away ``waits`` times in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(waits, 10), LONGEST_PAUSE)


def run_local(scan: LocalScan, show: Callable[[Progress], None], stop: Stop) -> bool:
    """Run the scan to its end; False when stopped before.

    Raises
    ------
    SkymapError
        If a role explains why it cannot go on, or does not stay alive.
    InputError
        If another run is at work in this folder.
    """
    logs = scan.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    roles = {name: _Role(name, command, logs / f"{name}.log") for name, command in role_commands(scan).items()}
    topics = ScanTopics.of(scan.settings.name)
    with alone(scan.folder), open_broker(scan.broker, scan.access) as broker:
        create_topics(broker, topics)
        with broker.reader(topics.progress) as progress:
            done = 0
            try:
                while not (stop.requested or roles["saver"].finished):
                    for role in roles.values():
                        role.look()
                    latest = _latest(progress, stop)
                    if latest is not None:
                        show(latest)
                        if latest.done > done:
                            done = latest.done
                            for role in roles.values():
                                role.deaths = role.waits = 0
            finally:
                _end_all(roles.values())
    return roles["saver"].finished


def _latest(reader: Reader, stop: Stop) -> Progress | None:
    """Return the last snapshot of those that came meanwhile, if any; none while the broker is away."""
    try:
        return latest_progress(reader, timeout=0.2)
    except BrokerUnavailable as error:
        log.warning("%s; trying again", error)
        stop.wait(5)
        return None


def _end_all(roles: Iterable[_Role]) -> None:
    for role in roles:
        role.ask()
    patience = time.monotonic() + 10
    for role in roles:
        role.end(max(patience - time.monotonic(), 0.1))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system gives back with the process.

    Raises
    ------
    InputError
        If another run holds it.
    """
    with (folder / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder} is in use by another run: wait for it, or choose another folder") from None
        yield
