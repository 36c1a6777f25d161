"""``skymap-scanner worker``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.cli.role_process import start_role


@click.command()
@options.scan_name(required=True)
@with_broker()
@options.topics("to_be_scanned", "scanned")
@click.option("--reconstruction", help="Fit with this reconstruction instead of the scan's own.")
@click.option(
    "--expect",
    metavar="RECONSTRUCTION",
    help="Load this reconstruction before the scan has begun, so that the first fit starts sooner.",
)
@click.option(
    "--fake-scan", is_flag=True, help="Do not fit: answer at once from an analytic bowl, to test everything else."
)
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Give up a task after it has crashed or hung this many workers.",
)
@click.option(
    "--max-task-seconds",
    type=options.FiniteRange(1, options.LONGEST_TIME),
    default=600.0,
    show_default=True,
    help="End a worker that takes longer over one task; another worker retries it.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Tasks that Pulsar may send to this worker in advance; worthwhile only if a fit takes less than a few "
    "milliseconds, because these tasks wait behind a slow fit.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=options.STATE_VARIABLE,
    help="Folder where workers record their in-flight task, so that the next worker on this machine reports a crash; "
    "in a pod, a volume that outlives its containers.  [default: in the system's temporary folder]",
)
@click.option(
    "--connect-worker-to-all-partitions",
    is_flag=True,
    expose_value=False,
    help="Accepted as the original scanner's option; workers always take tasks from all partitions.",
)
@options.end_with_parent
def command(
    name: str,
    broker_options: BrokerOptions,
    topic_bases: dict[str, str],
    reconstruction: str | None,
    expect: str | None,
    fake_scan: bool,
    max_attempts: int,
    max_task_seconds: float,
    prefetch: int,
    state: Path | None,
    end_with_parent: bool,
) -> int:
    """Fit tasks, one at a time, until stopped (on SIGTERM, after the current fit).

    \b
    Example:
        skymap-scanner worker -n myscan --broker sqlite:///scan.sqlite
    """
    if fake_scan and reconstruction not in {None, "dummy"}:
        raise click.UsageError("--fake-scan and --reconstruction exclude each other: give one of them")
    stop = start_role(end_with_parent=end_with_parent, longest_step=max_task_seconds + 60)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.full_disk import retry_while_disk_full
    from skymap_scanner.roles.worker.in_flight import InFlightFile, scan_folder
    from skymap_scanner.roles.worker.worker import WorkerSettings, work

    topics = ScanTopics.of(name, TopicBases(**topic_bases))
    own = "dummy" if fake_scan else reconstruction
    settings = WorkerSettings(own, expect, max_attempts, max_task_seconds, prefetch)

    def open_in_flight_file() -> InFlightFile:
        return InFlightFile(scan_folder(state, broker.url, topics.to_be_scanned), alarm=True)

    with (
        broker_options.open() as broker,
        retry_while_disk_full(open_in_flight_file, stop) or nullcontext() as in_flight,
    ):
        if in_flight is not None:
            work(broker, topics, stop, in_flight, settings)
    return stop.exit_code
