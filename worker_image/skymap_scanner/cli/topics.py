"""``skymap-scanner topics``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skymap_scanner.cli import command_first, options
from skymap_scanner.errors import InputError, printable

if TYPE_CHECKING:
    from skymap_api.names import TopicBases
    from skymap_scanner.broker import Broker
    from skymap_scanner.roles.scans import FoundScan

F = TypeVar("F", bound=Callable[..., Any])


def _bases(function: F) -> F:
    """Where the topics live: all of the original's topic options."""
    for kind in ("metadata", "collected", "scanned", "to_be_scanned"):
        function = options.topic(kind)(function)
    return function


class Actions(click.Group):
    """Lets options stand in front of the action too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the action to the front before the words are parsed."""
        return super().parse_args(ctx, command_first(args, self.commands))


@click.group(cls=Actions)
def command() -> None:
    """Make the topics of a scan, list the scans on a broker, delete what is left of them.

    \b
    Examples:
        skymap-scanner topics create -n myscan --broker pulsar://localhost:6650
        skymap-scanner topics list --broker pulsar://localhost:6650
        skymap-scanner topics delete -n myscan --broker pulsar://localhost:6650
    """


@command.command(short_help="Make the topics of a scan.")
@options.scan_name(required=True)
@options.broker
@_bases
def create(name: str, broker_options: options.BrokerOptions, **bases: str) -> None:
    """Make the topics and subscriptions of a scan, before anything is published.

    Over Pulsar also the tenant and the namespaces, where they are missing. The roles do the same when they start; what
    is there stays as it is.

    \b
    Example:
        skymap-scanner topics create -n myscan --broker pulsar://localhost:6650
    """
    from skymap_api.names import ScanTopics, TopicBases
    from skymap_scanner.roles.scans import find_scans
    from skymap_scanner.roles.topics import create_topics

    chosen = TopicBases(**bases)
    topics = ScanTopics.of(name, chosen)
    with broker_options.open() as broker:
        before = find_scans(broker, chosen).get(name, frozenset())
        create_topics(broker, topics)
        made = find_scans(broker, chosen)[name] - before
    for topic in topics.all():
        if topic in before or topic in made:
            click.echo(f"{topic}  {'made' if topic in made else 'was there'}")


@command.command("list", short_help="List the scans on a broker.")
@options.broker
@_bases
@click.option("--json", "as_json", is_flag=True, help="One JSON object a scan, each on its line.")
def list_scans(broker_options: options.BrokerOptions, as_json: bool, **bases: str) -> None:
    """List the scans on the broker: what they do, how far they are, the tasks that wait for workers or are in hand.

    \b
    Example:
        skymap-scanner topics list --broker pulsar://localhost:6650
    """
    from skymap_api.names import TopicBases
    from skymap_scanner.roles.scans import find_scans, look_at

    chosen = TopicBases(**bases)
    with _open(broker_options) as broker:
        scans = [look_at(broker, name, existing, chosen) for name, existing in find_scans(broker, chosen).items()]
    if as_json:
        for scan in scans:
            click.echo(json.dumps(_plain(scan)))
        return
    if not scans:
        click.echo(f"There are no scans on {broker_options.url}.", err=True)
        return
    rows = [("NAME", "PHASE", "PIXELS", "WAITING", "IN HAND", "TOPICS"), *map(_row, scans)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@command.command(short_help="Delete the topics of a scan, or of finished ones.")
@options.scan_name(required=False)
@click.option("--finished", is_flag=True, help="Delete every scan whose files are written.")
@options.broker
@_bases
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask, also where a scan is not finished.")
def delete(
    name: str | None, finished: bool, broker_options: options.BrokerOptions, dry_run: bool, yes: bool, **bases: str
) -> None:
    """Delete the topics of a scan, with all messages and subscriptions; its files stay.

    The event's frames go too, unless another scan uses them. Roles that still run end with an error. A deletion that
    was cut short is completed by the same command.

    \b
    Examples:
        skymap-scanner topics delete -n myscan --broker pulsar://localhost:6650
        skymap-scanner topics delete --finished --broker pulsar://localhost:6650
    """
    from skymap_api.names import TopicBases
    from skymap_scanner.roles.scans import find_scans

    if (name is None) == (not finished):
        raise click.UsageError("give either --name, or --finished for every scan whose files are written")
    chosen = TopicBases(**bases)
    with _open(broker_options) as broker:
        scans = dict(find_scans(broker, chosen))
        if name is not None and name not in scans:
            click.echo(f"There is no topic of scan {name} on {broker_options.url}.", err=True)
            return
        for scan in _selected(broker, scans, chosen, name):
            if not (dry_run or yes):
                _confirm(scan)
            _delete(broker, scan, scans, chosen, dry_run)


def _open(broker_options: options.BrokerOptions) -> Broker:
    """Open a broker to look into it: a file that is missing is not made."""
    if not broker_options.exists:
        raise InputError(f"{broker_options.url}: there is no such file, so there are no scans")
    return broker_options.open()


def _selected(
    broker: Broker, scans: Mapping[str, frozenset[str]], bases: TopicBases, name: str | None
) -> Iterable[FoundScan]:
    from skymap_scanner.roles.scans import look_at

    if name is not None:
        return [look_at(broker, name, scans[name], bases)]
    found = [look_at(broker, one, existing, bases) for one, existing in scans.items()]
    finished = [scan for scan in found if scan.finished]
    if not finished:
        click.echo("No scan is finished.", err=True)
    return finished


def _confirm(scan: FoundScan) -> None:
    """Ask whether a scan that could go on may go; without a terminal, refuse."""
    if not scan.can_go_on:
        return
    state = f"scan {scan.name} is not finished ({', '.join(filter(None, [scan.phase, _pixels(scan)]))})"
    if not sys.stdin.isatty():
        raise InputError(f"{state}: give --yes to delete it all the same")
    click.confirm(f"{state[0].upper()}{state[1:]}. Delete it?", abort=True)


def _delete(
    broker: Broker, scan: FoundScan, scans: dict[str, frozenset[str]], bases: TopicBases, dry_run: bool
) -> None:
    from skymap_scanner.roles.scans import find_scans, plan_deletion

    decided = plan_deletion(broker, scan, scans, bases)
    for topic in decided.topics:
        if not dry_run:
            broker.delete_topic(topic)
        click.echo(f"{topic}  {'would be deleted' if dry_run else 'deleted'}")
    if not dry_run and scan.name in find_scans(broker, bases):
        click.echo(f"Roles of scan {scan.name} still run and make topics again: stop them, then repeat this.", err=True)
    if decided.kept:
        click.echo(
            f"The event's frames ({len(decided.kept)}) are kept: another scan uses them, or its plan cannot be read.",
            err=True,
        )
    if scan.metadata is None:
        click.echo(f"The plan of scan {scan.name} cannot be read: the frames of its event are kept.", err=True)
    del scans[scan.name]  # so that of two scans of one event the second takes the event's frames along


def _pixels(scan: FoundScan) -> str:
    return "" if scan.progress is None else f"{scan.progress.done} of {scan.progress.planned} pixels"


def _row(scan: FoundScan) -> tuple[str, ...]:
    waiting, unacked = ("", "") if scan.backlog is None else (str(scan.backlog.waiting), str(scan.backlog.unacked))
    pixels = "" if scan.progress is None else f"{scan.progress.done}/{scan.progress.planned}"
    return printable(scan.name), scan.phase, pixels, waiting, unacked, str(len(scan.existing))


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
        "metadata_topics": None if scan.metadata is None else list(scan.metadata),
    }
