"""``skymap-scanner collector``."""

from __future__ import annotations

import os

import click

from skymap_scanner.cli import options


@click.command()
@options.scan_name(required=True)
@options.broker
@options.topic("scanned")
@options.topic("collected")
@options.topic("to_be_scanned")
@click.option(
    "--key-shared",
    is_flag=True,
    help="Share the work with other collectors, each of them with this option (Pulsar only); without it one works and "
    "the others stand by.",
)
@options.end_with_parent
def command(
    name: str,
    broker_options: options.BrokerOptions,
    scanned: str,
    collected: str,
    to_be_scanned: str,
    key_shared: bool,
    end_with_parent: bool,
) -> int:
    """Pass on the best fit of every pixel, until the scan is complete.

    \b
    Example:
        skymap-scanner collector -n myscan --broker sqlite:///scan.sqlite
    """
    from skymap_scanner.roles.liveness import start_heartbeat
    from skymap_scanner.roles.stop import Stop

    stop = Stop().on_signals(with_parent=end_with_parent)  # before what takes long to import
    start_heartbeat(stop, os.environ)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.collector import collect

    topics = ScanTopics.of(name, TopicBases(to_be_scanned=to_be_scanned, scanned=scanned, collected=collected))
    with broker_options.open() as broker:
        done = collect(broker, topics, stop, key_shared=key_shared)
    return 0 if done else stop.exit_code
