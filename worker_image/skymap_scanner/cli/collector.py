"""``skymap-scanner collector``."""

from __future__ import annotations

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.cli.role_process import start_role


@click.command()
@options.scan_name(required=True)
@with_broker()
@options.topics("scanned", "collected", "to_be_scanned")
@click.option(
    "--key-shared",
    is_flag=True,
    help="Share the work with other collectors started with this option (Pulsar only); without it one collector works "
    "and the others stand by.",
)
@options.end_with_parent
def command(
    name: str,
    broker_options: BrokerOptions,
    topic_bases: dict[str, str],
    key_shared: bool,
    end_with_parent: bool,
) -> int:
    """Pass on the best fit of every pixel, until the scan is complete.

    \b
    Example:
        skymap-scanner collector -n myscan --broker sqlite:///scan.sqlite
    """
    stop = start_role(end_with_parent=end_with_parent)

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.collector.collector import collect

    topics = ScanTopics.of(name, TopicBases(**topic_bases))
    with broker_options.open() as broker:
        done = collect(broker, topics, stop, key_shared=key_shared)
    return 0 if done else stop.exit_code
