"""``skymap-scanner fetch``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import kubectl_options

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.fetch_job import Source
    from skymap_scanner.kubectl.scans import SeenScan
    from skymap_scanner.kubectl.unpack import Arrival, Unpacked


@click.command()
@click.argument("name")
@kubectl_options.options
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that takes the files; those of the same name are replaced.  [default: NAME]",
)
@click.option("--claim", help="Claim with the results, of a scan that is deleted.  [default: that of the scan]")
@click.option("--path", help="Folder in the claim.  [default: that of the scan]")
@click.option("--image", help="Image of the pod that reads the claim; it needs python3.  [default: that of the scan]")
@click.option(
    "--limit", type=click.FloatRange(0), default=20.0, show_default=True, metavar="GB", help="Take no more than this."
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the pod may take to start.",
)
def command(
    name: str,
    kubectl: Kubectl,
    folder: Path | None,
    claim: str | None,
    path: str | None,
    image: str | None,
    limit: float,
    patience: float,
) -> None:
    """Copy the results of the scan NAME from its claim, and show them. Of a scan that runs: what is there already.

    A pod that can only read the claim sends the files through kubectl, and is removed at the end. Every file is checked
    (sha256), and none appears before all of them are here.

    \b
    Examples:
        skymap-scanner fetch alert-138632 -o result/
        skymap-scanner fetch alert-138632 --claim alert-138632-results --image skymap-scanner/worker:0.1.0
    """
    from skymap_scanner.cli.result_display import show_results
    from skymap_scanner.kubectl.fetch import fetch
    from skymap_scanner.kubectl.scans import find

    scan = find(kubectl, name)
    source = _source(kubectl, name, scan, claim, path, image)
    folder = folder or Path(name)
    with _ended_by_signals(), _progress() as show:
        came = fetch(kubectl, source, folder, limit=int(limit * 1e9), patience=patience, show=show)
    _tell_what_stayed(came)
    if scan is not None and not scan.finished:
        _tell_unfinished(scan)
    if came.files:
        show_results(folder, came.files)
    else:
        why = "is empty" if came.there else "is not there"
        click.echo(f"There are no results: folder {source.folder} of claim {source.claim} {why}.", err=True)


def _source(
    kubectl: Kubectl, name: str, scan: SeenScan | None, claim: str | None, path: str | None, image: str | None
) -> Source:
    """Return where the results are: as the scan says, or as the options do."""
    from dataclasses import replace

    from skymap_api.resource.base import stays_inside
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.fetch import source_of
    from skymap_scanner.kubectl.fetch_job import Source
    from skymap_scanner.kubectl.scans import check_name, the

    if path is not None and not stays_inside(path):
        raise InputError(f"--path {path!r} must be relative to the claim and stay inside it (no leading /, no ..)")
    if scan is not None:
        source = source_of(kubectl, scan, image)
    elif claim is None or image is None:
        the(kubectl, name)  # says which scans there are
        raise InputError(f"scan {name} is gone: give --claim and --image to copy what it has left")
    else:
        source = Source(claim, name, image)
    return replace(source, claim=check_name(claim or source.claim), folder=path or source.folder)


def _tell_what_stayed(came: Unpacked) -> None:
    from skymap_scanner.kubectl.unpack import printable

    for name in came.left:
        click.echo(f"Not copied, as it is no plain file or cannot be read: {printable(name)}", err=True)


def _tell_unfinished(scan: SeenScan) -> None:
    """Say that more will come."""
    progress = f", {scan.status.progress} pixels" if scan.status.progress else ""
    click.echo(f"The scan is not finished yet ({scan.phase}{progress}): these are the files so far.", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[Arrival], None]]:
    """Show how much has come, where there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("starting the pod", total=None)

        def show(arrival: Arrival) -> None:
            progress.update(task, description="copying", total=arrival.total, completed=arrival.done)

        yield show


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and the end of the terminal unwind what is under way, as Ctrl-C does."""

    def end(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
        sys.exit(128 + number)

    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(kind, end) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
