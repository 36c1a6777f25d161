"""``skymap-scanner worker``."""

from __future__ import annotations

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
    help="Hand a task to another worker after this time.",
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
    end_with_parent: bool,
) -> None:
    """Fit tasks, one at a time, until stopped (SIGTERM: after the fit in hand).

    \b
    Example:
        skymap-scanner worker -n myscan --broker sqlite:///scan.sqlite
    """
    if fake_scan and reconstruction not in {None, "dummy"}:
        raise click.UsageError("--fake-scan and --reconstruction exclude each other")

    from skymap_scanner.roles.stop import Stop
    from skymap_scanner.roles.topics import ScanTopics, TopicBases
    from skymap_scanner.roles.worker import work

    topics = ScanTopics.of(name, TopicBases(to_be_scanned=to_be_scanned, scanned=scanned))
    stop = Stop().on_signals(with_parent=end_with_parent)
    with broker_options.open() as broker:
        work(
            broker,
            topics,
            stop,
            reconstruction="dummy" if fake_scan else reconstruction,
            max_attempts=max_attempts,
            max_task_seconds=max_task_seconds,
        )
