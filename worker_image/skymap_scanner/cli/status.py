"""``skymap-scanner status``."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from skymap_scanner.cli import kubectl_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.scans import SeenScan


#: Columns of a story where there is no terminal.
WIDTH = 120


@click.command()
@click.argument("name", required=False)
@kubectl_options.options
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="The scans of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Show it live: one scan until it is done, all of them until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a scan, each on its line: the whole resource.")
def command(name: str | None, kubectl: Kubectl, everywhere: bool, watch: bool, as_json: bool) -> None:
    """Show the scans of a cluster, or all that is known of the scan NAME and what to do next.

    \b
    Examples:
        skymap-scanner status
        skymap-scanner status alert-138632
        skymap-scanner status alert-138632 --watch
        skymap-scanner status -A --json
    """
    from skymap_scanner.kubectl.scans import the

    if name is not None and everywhere:
        raise click.UsageError("NAME is a scan of one namespace: leave out --all-namespaces, or NAME")
    if name is None:
        _show_all(kubectl, everywhere, watch, as_json)
        return
    look = functools.partial(the, kubectl, name)
    if watch:
        watch_scan(kubectl, look, as_json)
        return
    scan = look()
    if as_json:
        click.echo(plain(scan))
    else:
        show_story(scan, kubectl)


def show_story(scan: SeenScan, kubectl: Kubectl) -> None:
    """Print all that is known of a scan."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(_story(scan, kubectl))


def _story(scan: SeenScan, kubectl: Kubectl) -> RenderableType:
    from skymap_scanner.cli.describe import story

    return story(scan, datetime.now(UTC), functools.partial(kubectl_options.call, kubectl))


def watch_scan(kubectl: Kubectl, look: Callable[[], SeenScan], as_json: bool = False) -> SeenScan:
    """Show a scan live until it is done: drawn on a terminal, line by line elsewhere; return how it ended."""
    from rich.console import Console
    from rich.live import Live

    from skymap_scanner.kubectl.scans import follow

    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        return follow(look, _changes(plain) if as_json else lines())
    with Live(console=console, auto_refresh=False) as live:
        return follow(look, lambda scan: live.update(_story(scan, kubectl), refresh=True))


def _changes(describe: Callable[[SeenScan], str]) -> Callable[[SeenScan], None]:
    """Print what is said of a scan whenever it is something new."""
    last: list[str] = []

    def show(scan: SeenScan) -> None:
        text = describe(scan)
        if last != [text]:
            last[:] = [text]
            click.echo(text)

    return show


def lines(clock: Callable[[], float] = time.monotonic) -> Callable[[SeenScan], None]:
    """Print a line when a scan's phase or what is in its way has changed, else every few seconds while it goes on."""
    from skymap_scanner.cli.describe import line
    from skymap_scanner.cli.progress_display import LINE_EVERY

    last_state: object = None
    last_text, last_time = "", 0.0

    def show(scan: SeenScan) -> None:
        nonlocal last_state, last_text, last_time
        state = (scan.status.phase, scan.hindrance and scan.hindrance.reason)
        text, now = line(scan), clock()
        if state != last_state or (text != last_text and now - last_time >= LINE_EVERY):
            last_state, last_text, last_time = state, text, now
            click.echo(text)

    return show


def _show_all(kubectl: Kubectl, everywhere: bool, watch: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from skymap_scanner.cli.describe import table
    from skymap_scanner.kubectl.scans import LOOK_EVERY, find_all

    console = Console(highlight=False)

    def draw() -> RenderableType:
        return Text(table(find_all(kubectl, everywhere), datetime.now(UTC), everywhere), no_wrap=True)

    if as_json:
        shown: dict[Any, str] = {}
        while True:
            for scan in find_all(kubectl, everywhere):
                text = plain(scan)
                if shown.get((scan.namespace, scan.name)) != text:
                    click.echo(text)
                shown[scan.namespace, scan.name] = text
            if not watch:
                return
            time.sleep(LOOK_EVERY)
    if watch and console.is_terminal:
        with Live(draw(), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(LOOK_EVERY)
                live.update(draw(), refresh=True)
    if watch:
        raise click.UsageError("without a terminal there is nothing to draw on: give --json, or a NAME")
    scans = find_all(kubectl, everywhere)
    if not scans:
        where = "on this cluster" if everywhere else "in this namespace (-A: all namespaces)"
        click.echo(f"There are no scans {where}. One is made by: skymap-scanner submit EVENT", err=True)
        return
    click.echo(table(scans, datetime.now(UTC), everywhere))


def plain(scan: SeenScan) -> str:
    """Write a scan's resource as one line of JSON, without what only the API server needs."""
    metadata = {key: value for key, value in scan.document["metadata"].items() if key != "managedFields"}
    return json.dumps(scan.document | {"metadata": metadata})
