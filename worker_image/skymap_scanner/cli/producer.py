"""``skymap-scanner producer``."""

from __future__ import annotations

import os
from typing import Any

import click

from skymap_scanner.cli import options


@click.command(cls=options.LevelsCommand)
@click.argument("event")
@options.scan_name(required=True)
@options.broker
@click.option("-i", "--nside", type=int, help="Scan the whole sky at this one nside; the same as --levels NSIDE:0.")
@options.event_options
@options.scan_options
@options.topic("to_be_scanned")
@options.topic("collected")
@options.topic("metadata")
@options.end_with_parent
def command(
    event: str,
    name: str,
    broker_options: options.BrokerOptions,
    nside: int | None,
    select: str | None,
    to_be_scanned: str,
    collected: str,
    metadata: str,
    end_with_parent: bool,
    **scan: Any,
) -> int:
    """Read EVENT (a path, - or an http(s) URL), plan the levels and send the tasks.

    \b
    Example:
        skymap-scanner producer event.json --nside 1 -n myscan --broker sqlite:///scan.sqlite
    """
    from skymap_scanner.roles.liveness import start_heartbeat
    from skymap_scanner.roles.stop import Stop

    stop = Stop().on_signals(with_parent=end_with_parent)  # before what takes long to import
    start_heartbeat(stop, os.environ)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.cli.settings import scan_settings
    from skymap_scanner.event.sources import read_event
    from skymap_scanner.roles.producer import produce

    settings = scan_settings(name, nside=nside, **scan)
    fits = f"{to_be_scanned.rpartition('/')[0]}/scanned"  # where the workers send them, unless they are told otherwise
    bases = TopicBases(to_be_scanned=to_be_scanned, scanned=fits, collected=collected, metadata=metadata)
    topics = ScanTopics.of(name, bases)
    found = read_event(event, select=options.parse_select(select))
    with broker_options.open() as broker:
        done = produce(broker, topics, found, settings, stop)
    return 0 if done else stop.exit_code
