"""``skymap-scanner producer``."""

from __future__ import annotations

from typing import Any

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.cli.role_process import start_role


@click.command(cls=options.LevelsCommand)
@click.argument("event")
@options.scan_name(required=True)
@with_broker()
@click.option("-i", "--nside", type=int, help="Scan the whole sky at this one nside; the same as --levels NSIDE:0.")
@options.event
@options.scan(seeds=7, first_seeds=None)
@options.topics("to_be_scanned", "collected", "metadata")
@options.end_with_parent
def command(
    event: str,
    name: str,
    broker_options: BrokerOptions,
    nside: int | None,
    select: str | None,
    topic_bases: dict[str, str],
    end_with_parent: bool,
    **scan: Any,
) -> int:
    """Read EVENT (a path, - or an http(s) URL), plan the levels and send the tasks.

    \b
    Example:
        skymap-scanner producer event.json --nside 1 -n myscan --broker sqlite:///scan.sqlite
    """
    stop = start_role(end_with_parent=end_with_parent)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.cli.settings import scan_options, scan_settings
    from skymap_scanner.event.sources import read_event
    from skymap_scanner.roles.producer.producer import produce

    settings = scan_settings(name, scan_options(nside=nside, **scan))
    topics = ScanTopics.of(name, TopicBases(**topic_bases))
    found = read_event(event, select=options.parse_select(select), pulse_series=settings.pulse_series)
    with broker_options.open() as broker:
        done = produce(broker, topics, found, settings, stop)
    return 0 if done else stop.exit_code
