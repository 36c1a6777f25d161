"""``skymap-scanner status``."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from skymap_api.text import printable_line
from skymap_scanner.cli import options
from skymap_scanner.cli.kubectl_options import command_line, with_kubectl

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.scans import ClusterScan


#: Columns of a description if the output is not a terminal.
WIDTH = 120


@click.command()
@click.argument("name", required=False)
@with_kubectl
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the scans of all namespaces.")
@click.option(
    "-w", "--watch", is_flag=True, help="Show changes live: of one scan until it is finished, of all until Ctrl-C."
)
@options.as_json("Print the whole resource of each scan as one line of JSON.")
def command(name: str | None, kubectl: Kubectl, all_namespaces: bool, watch: bool, as_json: bool) -> None:
    """Show the scans of a cluster, or everything about the scan NAME and what to do next.

    \b
    Examples:
        skymap-scanner status
        skymap-scanner status alert-138632
        skymap-scanner status alert-138632 --watch
        skymap-scanner status -A --json
    """
    from skymap_scanner.kubectl.scans import get_scan

    if name is not None and all_namespaces:
        raise click.UsageError("NAME is a scan of one namespace: leave out --all-namespaces, or NAME")
    if name is None:
        _show_all(kubectl, all_namespaces, watch, as_json)
    elif watch:
        watch_scan(kubectl, name, as_json)
    elif as_json:
        click.echo(json_line(get_scan(kubectl, name)))
    else:
        print_description(get_scan(kubectl, name), kubectl)


def print_description(scan: ClusterScan, kubectl: Kubectl) -> None:
    """Print everything about a scan."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(_description(scan, kubectl))


def _description(scan: ClusterScan, kubectl: Kubectl) -> RenderableType:
    from skymap_scanner.cli.describe import describe

    return describe(scan, datetime.now(UTC), functools.partial(command_line, kubectl))


def watch_scan(kubectl: Kubectl, name: str, as_json: bool = False) -> ClusterScan:
    """Show a scan live until it is finished: drawn on a terminal, line by line elsewhere; return its last state."""
    from rich.console import Console
    from rich.live import Live

    from skymap_scanner.kubectl.scans import get_scan, watch_until_finished

    read = functools.partial(get_scan, kubectl, name)
    console = Console(highlight=False)
    if as_json:
        return watch_until_finished(read, print_changes())
    if not console.is_terminal:
        return watch_until_finished(read, print_lines())
    with Live(console=console, auto_refresh=False) as live:
        return watch_until_finished(read, lambda scan: live.update(_description(scan, kubectl), refresh=True))


def print_changes() -> Callable[[ClusterScan], None]:
    """Return a function that prints a scan's JSON if it has changed since the last call."""
    printed: dict[tuple[str, str], str] = {}

    def show(scan: ClusterScan) -> None:
        text = json_line(scan)
        if printed.get((scan.namespace, scan.name)) != text:
            printed[scan.namespace, scan.name] = text
            click.echo(text)

    return show


def print_lines(clock: Callable[[], float] = time.monotonic) -> Callable[[ClusterScan], None]:
    """Return a function that prints a line when a scan's phase or Degraded reason changes, else every few seconds.

    What holds the scan up is told once, not in every line; that workers are missing while others work, too.
    """
    from skymap_scanner.cli.describe import line, missing_workers
    from skymap_scanner.cli.display import LINE_INTERVAL

    last_state: object = None
    last_text, last_told, last_time = "", "", 0.0

    def show(scan: ClusterScan) -> None:
        nonlocal last_state, last_text, last_told, last_time
        degraded, missing = scan.degraded, missing_workers(scan)
        reason = None if degraded is None else degraded.reason
        state = (scan.status.phase, reason, degraded is None and missing is not None)
        message = (missing or "") if degraded is None else degraded.message
        # The message about missing workers changes with every pod; it is told once, until none is missing.
        told = message if degraded is not None or not message else "workers are missing"
        text, now = line(scan), clock()
        if state == last_state and ((text, told) == (last_text, last_told) or now - last_time < LINE_INTERVAL):
            return
        click.echo(f"{text}; {printable_line(message)}" if message and told != last_told else text)
        last_state, last_text, last_told, last_time = state, text, told, now

    return show


def _show_all(kubectl: Kubectl, all_namespaces: bool, watch: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from skymap_scanner.cli.describe import table
    from skymap_scanner.kubectl.scans import POLL_INTERVAL, list_scans

    def readings() -> Iterator[list[ClusterScan]]:
        yield list_scans(kubectl, all_namespaces)
        while watch:
            time.sleep(POLL_INTERVAL)
            yield list_scans(kubectl, all_namespaces)

    def draw(scans: list[ClusterScan]) -> str:
        return table(scans, datetime.now(UTC), all_namespaces)

    console = Console(highlight=False)
    if as_json:
        show = print_changes()
        for scans in readings():
            for scan in scans:
                show(scan)
    elif watch:
        if not console.is_terminal:
            raise click.UsageError("--watch needs a terminal to draw on: give --json, or the NAME of a scan")
        with Live(console=console, auto_refresh=False) as live:
            for scans in readings():
                live.update(Text(draw(scans), no_wrap=True), refresh=True)
    else:
        (scans,) = readings()
        if scans:
            click.echo(draw(scans))
            return
        where = "on this cluster" if all_namespaces else "in this namespace (-A: all namespaces)"
        click.echo(f"There are no scans {where}. Create one with: skymap-scanner submit EVENT", err=True)


def json_line(scan: ClusterScan) -> str:
    """Return a scan's resource as one line of JSON, without the fields that only the API server needs."""
    metadata = {key: value for key, value in scan.document["metadata"].items() if key != "managedFields"}
    return json.dumps(scan.document | {"metadata": metadata})
