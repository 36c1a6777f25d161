"""``skymap-scanner topics``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import command_first, options
from skymap_scanner.cli.broker_options import BrokerOptions, with_broker
from skymap_scanner.errors import InputError

if TYPE_CHECKING:
    from skymap_api.names import TopicBases
    from skymap_scanner.broker import Broker
    from skymap_scanner.roles.scans import FoundScan

_with_topics = options.topics("metadata", "collected", "scanned", "to_be_scanned")


class Actions(click.Group):
    """Accepts options before the action, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the action to the front before click parses the words."""
        return super().parse_args(ctx, command_first(args, self))


@click.group(cls=Actions)
def command() -> None:
    """Create the topics of a scan, list the scans on a broker, delete the topics of scans.

    \b
    Examples:
        skymap-scanner topics create -n myscan --broker pulsar://localhost:6650
        skymap-scanner topics list --broker pulsar://localhost:6650
        skymap-scanner topics delete -n myscan --broker pulsar://localhost:6650
    """


@command.command(short_help="Create the topics of a scan.")
@options.scan_name(required=True)
@with_broker()
@_with_topics
def create(name: str, broker_options: BrokerOptions, topic_bases: dict[str, str]) -> None:
    """Create the topics and subscriptions of a scan, before anything is published.

    On Pulsar it also creates the tenant and the namespaces. The roles do the same when they start; what exists stays
    unchanged.

    \b
    Example:
        skymap-scanner topics create -n myscan --broker pulsar://localhost:6650
    """
    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.scans import find_scans
    from skymap_scanner.roles.topics import create_topics

    bases = TopicBases(**topic_bases)
    topics = ScanTopics.of(name, bases)
    with broker_options.open() as broker:
        before = find_scans(broker, bases).get(name, frozenset())
        create_topics(broker, topics)
        created = find_scans(broker, bases)[name] - before
    for topic in topics.all():
        if topic in before or topic in created:
            click.echo(f"{topic}  {'created' if topic in created else 'exists already'}")


@command.command("list", short_help="List the scans on a broker.")
@with_broker()
@_with_topics
@options.as_json("Print each scan as one line of JSON.")
def list_scans(broker_options: BrokerOptions, topic_bases: dict[str, str], as_json: bool) -> None:
    """List the scans on the broker with their phase, progress, waiting and in-flight tasks, and number of topics.

    \b
    Example:
        skymap-scanner topics list --broker pulsar://localhost:6650
    """
    from skymap_api.names import TopicBases
    from skymap_scanner.cli.display import text_table
    from skymap_scanner.roles.scans import describe_scan, find_scans

    bases = TopicBases(**topic_bases)
    with _open_existing(broker_options) as broker:
        scans = [describe_scan(broker, name, existing, bases) for name, existing in find_scans(broker, bases).items()]
    if as_json:
        for scan in scans:
            click.echo(json.dumps(_plain(scan)))
        return
    if not scans:
        click.echo(f"There are no scans on {broker_options.url}.", err=True)
        return
    click.echo(text_table([("NAME", "PHASE", "PIXELS", "WAITING", "IN FLIGHT", "TOPICS"), *map(_row, scans)]))


@command.command(short_help="Delete the topics of a scan, or of all finished scans.")
@options.scan_name(required=False)
@click.option("--finished", is_flag=True, help="Delete the topics of every scan whose files are written.")
@with_broker()
@_with_topics
@click.option("--dry-run", is_flag=True, help="Print the topics to delete, but do not delete them.")
@click.option("--yes", is_flag=True, help="Do not ask, even if a scan is not finished.")
def delete(
    name: str | None,
    finished: bool,
    broker_options: BrokerOptions,
    topic_bases: dict[str, str],
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete the topics of a scan, with all messages and subscriptions; its files stay.

    The frames of its event are deleted too. Roles that still run end with an error. Repeating the command completes an
    interrupted deletion.

    \b
    Examples:
        skymap-scanner topics delete -n myscan --broker pulsar://localhost:6650
        skymap-scanner topics delete --finished --broker pulsar://localhost:6650
    """
    from skymap_api.names import TopicBases
    from skymap_scanner.roles.scans import find_scans

    if (name is None) == (not finished):
        raise click.UsageError("give either --name, or --finished for every scan whose files are written")
    bases = TopicBases(**topic_bases)
    with _open_existing(broker_options) as broker:
        scans = find_scans(broker, bases)
        if name is not None and name not in scans:
            click.echo(f"Scan {name} has no topics on {broker_options.url}.", err=True)
            return
        for scan in _selected(broker, scans, bases, name):
            if not (dry_run or yes):
                _confirm(scan)
            _delete(broker, scan, bases, dry_run)


def _open_existing(broker_options: BrokerOptions) -> Broker:
    """Open a broker to read from it: a missing file is not created."""
    if not broker_options.exists:
        raise InputError(f"{broker_options.url}: there is no such file, so there are no scans: check --broker")
    return broker_options.open()


def _selected(
    broker: Broker, scans: Mapping[str, frozenset[str]], bases: TopicBases, name: str | None
) -> Iterable[FoundScan]:
    from skymap_scanner.roles.scans import describe_scan

    if name is not None:
        return [describe_scan(broker, name, scans[name], bases)]
    found = [describe_scan(broker, one, existing, bases) for one, existing in scans.items()]
    finished = [scan for scan in found if scan.finished]
    if not finished:
        click.echo("No scan is finished.", err=True)
    return finished


def _confirm(scan: FoundScan) -> None:
    """Ask before an unfinished scan is deleted; without a terminal, raise an error."""
    if not scan.resumable:
        return
    state = f"scan {scan.name} is not finished ({', '.join(filter(None, [scan.phase, _pixels(scan)]))})"
    if not sys.stdin.isatty():
        raise InputError(f"{state}: give --yes to delete it anyway")
    click.confirm(f"{state[0].upper()}{state[1:]}. Delete it?", abort=True)


def _delete(broker: Broker, scan: FoundScan, bases: TopicBases, dry_run: bool) -> None:
    from skymap_scanner.roles.scans import find_scans

    for topic in scan.deletion:
        if not dry_run:
            broker.delete_topic(topic)
        click.echo(f"{printable_line(topic)}  {'would be deleted' if dry_run else 'deleted'}")
    if not dry_run and scan.name in find_scans(broker, bases):
        click.echo(
            f"Roles of scan {scan.name} still run and create topics again: stop them, then repeat this command.",
            err=True,
        )


def _pixels(scan: FoundScan) -> str:
    return "" if scan.progress is None else f"{scan.progress.done} of {scan.progress.planned} pixels"


def _row(scan: FoundScan) -> tuple[str, ...]:
    waiting, unacked = ("", "") if scan.backlog is None else (str(scan.backlog.waiting), str(scan.backlog.unacked))
    pixels = "" if scan.progress is None else f"{scan.progress.done}/{scan.progress.planned}"
    return printable_line(scan.name), scan.phase, pixels, waiting, unacked, str(len(scan.existing))


def _plain(scan: FoundScan) -> dict[str, Any]:
    progress, backlog = scan.progress, scan.backlog
    return {
        "name": scan.name,
        "phase": scan.phase,
        "done": None if progress is None else progress.done,
        "planned": None if progress is None else progress.planned,
        "waiting": None if backlog is None else backlog.waiting,
        "unacked": None if backlog is None else backlog.unacked,
        "topics": sorted(scan.existing),
        "metadata_topics": list(scan.metadata),
    }
