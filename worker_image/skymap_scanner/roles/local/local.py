"""Runs all roles of a scan on this machine, as processes that are restarted when they crash.

    run ─▶ producer, worker ×N, collector, saver ─▶ progress ─▶ display

The broker is an embedded one in the scan's folder, or a shared one, so that other machines can add workers. All state
is in the broker, so this process may be killed at any time. The standard input of the roles then closes and they end
too; the same call resumes the scan.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymap_api.command_line import ScanOptions
from skymap_api.names import ScanTopics
from skymap_api.progress import Progress
from skymap_scanner.broker import Access, Reader, open_broker
from skymap_scanner.broker.access import embedded_url
from skymap_scanner.errors import BrokerUnavailable
from skymap_scanner.roles.local.local_role import LocalRole, StartRole
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.scans import latest_progress
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.roles.worker.in_flight import forget_crashes, scan_folder

log = logging.getLogger(__name__)

BROKER_FILE = "scan.sqlite"

#: Time for the roles to stop before they are killed (s).
END_TIMEOUT = 10.0

#: How often the roles and the progress are looked at (s): a finished scan waits that long for its saver to end.
POLL_INTERVAL = 0.05


@dataclass(frozen=True)
class LocalScan:
    """One scan on this machine; the producer reads ``event``, and all files are written to ``folder``.

    ``shared``: URL of a shared broker (None: an embedded one in the folder), ``access``: its credentials. ``workers``:
    number of local workers; with 0 all fits are done by workers elsewhere. ``state``: the folder in
    which they record their tasks in flight (None: in the system's temporary folder).
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
    state: Path | None = None

    @property
    def broker(self) -> str:
        """URL of the broker."""
        return self.shared or embedded_url(self.folder / BROKER_FILE)


def broker_arguments(url: str, access: Access) -> list[str]:
    """Return the options of `cli.broker_options.with_broker` for a broker: addresses and files, no secrets."""
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
    """Return the options of ``producer`` for these settings."""
    return ScanOptions(
        levels=" ".join(map(str, settings.levels)),
        seeds=settings.seeds,
        first_seeds=settings.seeds if settings.first_seeds is None else settings.first_seeds,
        predictive=settings.predictive,
        reconstruction=settings.reconstruction,
        parameters=tuple(f"{key}={json.dumps(value)}" for key, value in settings.parameters.items()),
        area=None if settings.area is None else str(settings.area),
        pixel_list=settings.pixels,
        pulses=settings.pulse_series,
        keep_all_seeds=settings.keep_all_seeds,
        calibrate=settings.calibrate,
    ).words()


def role_commands(scan: LocalScan) -> dict[str, list[str]]:
    """Return the words of every role's command line, in the order in which they start.

    Workers come first, since the set-up of the event takes longest.
    """
    common = ["-n", scan.settings.name, *broker_arguments(scan.broker, scan.access)]
    saver = ["saver", *common, "-o", str(scan.output), "--results", str(scan.folder)]
    for one in scan.formats:
        saver += ["--format", one]
    expected = ["--expect", scan.settings.reconstruction]
    worker = ["worker", *common, *expected, "--max-task-seconds", str(scan.max_task_seconds)]
    if scan.state is not None:
        worker += ["--state", str(scan.state)]
    commands = {f"worker-{number}": worker for number in range(scan.workers)} | {
        "producer": ["producer", str(scan.event), *common, *scan_arguments(scan.settings)],
        "collector": ["collector", *common],
        "saver": saver,
    }
    return {role: [*words, "--end-with-parent"] for role, words in commands.items()}


def run_local(scan: LocalScan, show: Callable[[Progress], None], stop: Stop, start: StartRole) -> bool:
    """Run the scan to its end; False when stopped before. ``start`` starts the roles.

    The caller holds the folder. Raises SkymapError if a role fails, or crashes repeatedly.
    """
    logs = scan.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    roles = {name: LocalRole(name, words, logs / f"{name}.log", start) for name, words in role_commands(scan).items()}
    topics = ScanTopics.of(scan.settings.name)
    with open_broker(scan.broker, scan.access) as broker:
        create_topics(broker, topics)
        if scan.workers:  # a worker that ended with an earlier run has not crashed
            forget_crashes(scan_folder(scan.state, broker.url, topics.to_be_scanned))
        with broker.reader(topics.progress) as progress, broker.reader(topics.crash_reports) as crash_reports:
            done = 0
            try:
                while not (stop.requested or roles["saver"].finished):
                    for role in roles.values():
                        role.update()
                    latest = _latest(progress, stop)
                    if latest is not None:
                        show(latest)
                        if latest.fits.done > done:
                            done = latest.fits.done
                            for role in roles.values():
                                role.policy.reset()
                    if _task_crashed(crash_reports):
                        for role in roles.values():
                            role.policy.tasks_crash = True
            finally:
                _end_all(roles.values())
    return roles["saver"].finished


def _latest(reader: Reader, stop: Stop) -> Progress | None:
    """Return the latest new snapshot, if any; None while the broker is unavailable."""
    try:
        return latest_progress(reader, timeout=POLL_INTERVAL)
    except BrokerUnavailable as error:
        log.warning("%s; retrying", error)
        stop.wait(5)
        return None


def _task_crashed(crash_reports: Reader) -> bool:
    """Return whether there is a new report of a task that ended its worker; False while the broker is unavailable."""
    try:
        return crash_reports.receive(0) is not None
    except BrokerUnavailable:  # `_latest` has logged it
        return False


def _end_all(roles: Iterable[LocalRole]) -> None:
    for role in roles:
        role.terminate()
    deadline = time.monotonic() + END_TIMEOUT
    for role in roles:
        role.end(max(deadline - time.monotonic(), 0.1))
