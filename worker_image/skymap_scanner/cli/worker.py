"""``skymap-scanner worker``."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import click

from skymap_scanner.cli import options


@click.command()
@options.scan_name(required=True)
@options.broker
@options.topic("to_be_scanned")
@options.topic("scanned")
@click.option("--reconstruction", help="Fit with this one, whatever the scan asks for.")
@click.option(
    "--fake-scan", is_flag=True, help="Do not fit: answer at once from an analytic bowl (tests of the plumbing)."
)
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Give up a task that ended or hung so many workers.",
)
@click.option(
    "--max-task-seconds",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    help="End a worker that takes longer over a task; another tries it again.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Tasks that Pulsar may send ahead to this worker, for reconstructions that take less than a few milliseconds; "
    "0: one at a time, so that no task waits behind a slow fit.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SKYMAP_STATE",
    help="Folder where workers note what they have in hand, so that the next one on this machine notices the death of "
    "one; in a pod, a volume that outlives its containers.  [default: in the system's temporary folder]",
)
@click.option(
    "--connect-worker-to-all-partitions",
    is_flag=True,
    expose_value=False,
    help="Take tasks from all partitions of the topic: what every worker does, and an option for the original.",
)
@options.end_with_parent
def command(
    name: str,
    broker_options: options.BrokerOptions,
    to_be_scanned: str,
    scanned: str,
    reconstruction: str | None,
    fake_scan: bool,
    max_attempts: int,
    max_task_seconds: float,
    prefetch: int,
    state: Path | None,
    end_with_parent: bool,
) -> int:
    """Fit tasks, one at a time, until stopped (SIGTERM: after the fit in hand).

    \b
    Example:
        skymap-scanner worker -n myscan --broker sqlite:///scan.sqlite
    """
    if fake_scan and reconstruction not in {None, "dummy"}:
        raise click.UsageError("--fake-scan and --reconstruction exclude each other")

    from skymap_scanner.roles.liveness import LONGEST, start_heartbeat
    from skymap_scanner.roles.stop import Stop

    stop = Stop().on_signals(with_parent=end_with_parent)  # before what takes long to import
    start_heartbeat(stop, os.environ, longest=max(LONGEST, max_task_seconds + 60))

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.full_disk import retry_while_disk_full
    from skymap_scanner.roles.in_flight import InFlightFile, scan_folder
    from skymap_scanner.roles.worker import WorkerSettings, work

    topics = ScanTopics.of(name, TopicBases(to_be_scanned=to_be_scanned, scanned=scanned))
    settings = WorkerSettings("dummy" if fake_scan else reconstruction, max_attempts, max_task_seconds, prefetch)

    def make_in_flight() -> InFlightFile:
        return InFlightFile(scan_folder(state, broker.url, topics.to_be_scanned), alarm=True)

    with broker_options.open() as broker, retry_while_disk_full(make_in_flight, stop) or nullcontext() as in_flight:
        if in_flight is not None:
            work(broker, topics, stop, in_flight, settings)
    return stop.exit_code
