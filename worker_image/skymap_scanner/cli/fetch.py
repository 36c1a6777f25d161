"""``skymap-scanner fetch``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skymap_scanner.cli import options
from skymap_scanner.cli.kubectl_options import with_kubectl

if TYPE_CHECKING:
    from skymap_scanner.kubectl.client import Kubectl
    from skymap_scanner.kubectl.fetch_job import ResultSource
    from skymap_scanner.kubectl.scans import ClusterScan
    from skymap_scanner.kubectl.unpack import Transferred, Unpacked


@click.command()
@click.argument("name")
@with_kubectl
@options.output_folder(help="Folder for the files; files of the same name are replaced.  [default: NAME]")
@click.option("--claim", help="Claim with the results, if the scan is deleted.  [default: that of the scan]")
@click.option("--path", help="Folder in the claim.  [default: that of the scan]")
@click.option("--image", help="Image of the pod that reads the claim; it needs python3.  [default: that of the scan]")
@click.option(
    "--limit",
    type=options.FiniteRange(0, 1e6),
    default=20.0,
    show_default=True,
    metavar="GB",
    help="Fail if the results are larger.",
)
@options.timeout("How long the pod may take to start.")
def command(
    name: str,
    kubectl: Kubectl,
    folder: Path | None,
    claim: str | None,
    path: str | None,
    image: str | None,
    limit: float,
    timeout: float,
) -> None:
    """Copy the results of the scan NAME from its claim, and show them; of a running scan, the files so far.

    A pod that mounts the claim read-only sends the files through kubectl, and is deleted at the end. Every file is
    checked (sha256), and none appears before all have arrived.

    \b
    Examples:
        skymap-scanner fetch alert-138632 -o result/
        skymap-scanner fetch alert-138632 --claim alert-138632-results --image skymap-scanner/worker:0.1.0
    """
    from skymap_api.resource.base import stays_inside
    from skymap_api.text import printable_line
    from skymap_scanner.cli.display import show_results
    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.fetch import fetch
    from skymap_scanner.kubectl.scans import find_scan

    if path is not None and not stays_inside(path):
        raise InputError(f"--path {path!r} must be relative to the claim and stay inside it (no leading /, no ..)")
    scan = find_scan(kubectl, name)
    source = _source(kubectl, name, scan, claim, path, image)
    folder = folder or Path(name)
    with _exit_on_signals(), _progress() as show:
        copied = fetch(kubectl, source, folder, limit=int(limit * 1e9), timeout=timeout, show=show)
    _report_skipped(copied)
    if scan is not None and not scan.finished:
        _report_unfinished(scan)
    if copied.files:
        show_results(folder, copied.files)
    else:
        why = "is empty" if copied.exists else "does not exist"
        click.echo(
            f"There are no results: folder {printable_line(source.folder)} of claim {source.claim} {why}.", err=True
        )


def _source(
    kubectl: Kubectl, name: str, scan: ClusterScan | None, claim: str | None, path: str | None, image: str | None
) -> ResultSource:
    """Return where the results are, from the scan and the options."""
    from dataclasses import replace

    from skymap_scanner.errors import InputError
    from skymap_scanner.kubectl.fetch import results_of
    from skymap_scanner.kubectl.fetch_job import ResultSource
    from skymap_scanner.kubectl.scans import check_object_name, get_scan

    if scan is not None:
        source = results_of(kubectl, scan, image)
    elif claim is None or image is None:
        get_scan(kubectl, name)  # raises an error that lists the existing scans
        raise InputError(f"scan {name} is deleted: give --claim and --image to copy the results that it left")
    else:
        source = ResultSource(claim, name, image)
    return replace(source, claim=check_object_name(claim or source.claim), folder=path or source.folder)


def _report_skipped(copied: Unpacked) -> None:
    from skymap_api.text import printable_line

    for name in copied.skipped:
        click.echo(f"Not copied, because it is not a regular file or not readable: {printable_line(name)}", err=True)


def _report_unfinished(scan: ClusterScan) -> None:
    from skymap_api.text import printable_line

    progress = f", {scan.status.progress} pixels" if scan.status.progress else ""
    click.echo(
        f"The scan is not finished yet ({scan.phase}{printable_line(progress)}): these are the files so far.", err=True
    )


@contextmanager
def _progress() -> Iterator[Callable[[Transferred], None]]:
    """Show the progress of the copy if there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("starting the pod", total=None)

        def show(transferred: Transferred) -> None:
            progress.update(task, description="copying", total=transferred.total, completed=transferred.done)

        yield show


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the copy, as Ctrl-C does, so that its pod is deleted."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(kind, end) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
