"""``skymap-scanner watch``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.errors import BrokerUnavailable, InputError

if TYPE_CHECKING:
    from skymap_api.progress import Progress
    from skymap_scanner.broker import Reader

log = logging.getLogger(__name__)

#: Seconds between two checks for a scan that has not started, and the longest wait for the next snapshot.
POLL_INTERVAL = 0.5

#: Seconds before the next attempt if the broker is unavailable.
RETRY_INTERVAL = 5.0


@click.command()
@options.scan_name(required=True)
@with_broker()
@options.topics("to_be_scanned")
@click.option("--once", is_flag=True, help="Show the latest snapshot and end; fail if there is none.")
@options.as_json("Print each snapshot as one line of JSON.")
def command(name: str, broker_options: BrokerOptions, topic_bases: dict[str, str], once: bool, as_json: bool) -> None:
    """Show the progress of a scan live until it is done, then list its files. Ctrl-C ends only this command.

    \b
    Examples:
        skymap-scanner watch -n myscan --broker pulsar://localhost:6650
        skymap-scanner watch -n myscan --broker pulsar://localhost:6650 --once --json
    """
    from rich.console import Console

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.cli.progress_display import progress_display

    topic = ScanTopics.of(name, TopicBases(**topic_bases)).progress
    waiting = Waiting(f"scan {name} on {broker_options.url} has reported no progress yet", once)
    while not broker_options.exists:
        waiting.wait()
    with broker_options.open() as broker:
        while topic not in broker.topics(topic):  # a reader would create the topic, and hide a wrong name
            waiting.wait()
        with broker.reader(topic) as reader:
            if as_json:
                follow(reader, lambda progress: click.echo(json.dumps(progress.model_dump(mode="json"))), waiting)
                return
            with progress_display(Console()) as show:
                last = follow(reader, show, waiting)
    if last.outputs:
        click.echo("Files, as the saver wrote them:")
        for output in last.outputs:
            click.echo(f"  {printable_line(output)}")


def follow(reader: Reader, show: Callable[[Progress], None], waiting: Waiting) -> Progress:
    """Show the latest snapshot, and later ones until the scan is done; return the last."""
    from skymap_api.progress import ProgressPhase
    from skymap_scanner.roles.scans import latest_progress

    last = None
    while last is None or not (waiting.once or last.phase is ProgressPhase.DONE):
        try:
            latest = latest_progress(reader, 0 if waiting.once else POLL_INTERVAL)
        except BrokerUnavailable as error:
            if waiting.once:
                raise
            log.warning("%s; retrying in %g s", error, RETRY_INTERVAL)
            time.sleep(RETRY_INTERVAL)
            continue
        if latest is not None:
            last = latest
            show(last)
        elif last is None:
            waiting.wait()
    return last


@dataclass
class Waiting:
    """Waits for a scan that has not started, and says so once; with ``once``, not having started is an error."""

    state: str
    once: bool
    announced: bool = False

    def wait(self) -> None:
        """Wait a moment.

        Raises
        ------
        InputError
            With ``once``.
        """
        if self.once:
            raise InputError(f"{self.state}: check the name, or wait until its producer and saver have started")
        if not self.announced:
            click.echo(f"{self.state[0].upper()}{self.state[1:]}: waiting (Ctrl-C to stop).", err=True)
            self.announced = True
        time.sleep(POLL_INTERVAL)
