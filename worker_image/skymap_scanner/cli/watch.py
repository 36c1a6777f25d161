"""``skymap-scanner watch``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import options
from skymap_scanner.errors import BrokerUnavailable, InputError, printable

if TYPE_CHECKING:
    from skymap_api.progress import Progress
    from skymap_scanner.broker import Reader

log = logging.getLogger(__name__)

#: Seconds between two looks for what has not begun, and the longest wait for the next snapshot.
LOOK_EVERY = 0.5

#: Seconds before a broker that is away is asked again.
AWAY = 5.0


@click.command()
@options.scan_name(required=True)
@options.broker
@options.topic("to_be_scanned")
@click.option("--once", is_flag=True, help="Show the latest snapshot and end; an error if there is none.")
@click.option("--json", "as_json", is_flag=True, help="Print each snapshot as one line of JSON.")
def command(name: str, broker_options: options.BrokerOptions, to_be_scanned: str, once: bool, as_json: bool) -> None:
    """Show how far a scan is, live, until it is done; then name its files. Ctrl-C ends the watching, not the scan.

    \b
    Examples:
        skymap-scanner watch -n myscan --broker pulsar://localhost:6650
        skymap-scanner watch -n myscan --broker pulsar://localhost:6650 --once --json
    """
    from rich.console import Console

    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.cli.progress_display import progress_display

    topic = ScanTopics.of(name, TopicBases(to_be_scanned=to_be_scanned)).progress
    waiting = Waiting(f"scan {name} on {broker_options.url} has told nothing yet", once)
    while not broker_options.exists:
        waiting.go_on()
    with broker_options.open() as broker:
        while topic not in broker.topics(topic):  # opening a reader would make it, and a wrong name would look right
            waiting.go_on()
        with broker.reader(topic) as reader:
            if as_json:
                follow(reader, lambda progress: click.echo(progress.model_dump_json()), waiting)
                return
            with progress_display(Console()) as show:
                last = follow(reader, show, waiting)
    if last.outputs:
        click.echo("Files, where the saver wrote them:")
        for output in last.outputs:
            click.echo(f"  {printable(output)}")


def follow(reader: Reader, show: Callable[[Progress], None], waiting: Waiting) -> Progress:
    """Show the latest snapshot, and those that come until the scan is done; return the last."""
    from skymap_api.progress import ProgressPhase
    from skymap_scanner.roles.scans import latest_progress

    last = None
    while last is None or not (waiting.once or last.phase is ProgressPhase.DONE):
        try:
            latest = latest_progress(reader, 0 if waiting.once else LOOK_EVERY)
        except BrokerUnavailable as error:
            if waiting.once:
                raise
            log.warning("%s; trying again", error)
            time.sleep(AWAY)
            continue
        if latest is not None:
            last = latest
            show(last)
        elif last is None:
            waiting.go_on()
    return last


@dataclass
class Waiting:
    """Waits for what has not begun, and says so; where only one look is wanted (``once``), that is an error."""

    what: str
    once: bool
    said: bool = False

    def go_on(self) -> None:
        """Wait a moment.

        Raises
        ------
        InputError
            If only one look is wanted.
        """
        if self.once:
            raise InputError(f"{self.what}: its producer and saver have not begun, or it has another name")
        if not self.said:
            click.echo(f"{self.what[0].upper()}{self.what[1:]}: waiting (Ctrl-C ends it).", err=True)
            self.said = True
        time.sleep(LOOK_EVERY)
