"""What ``run`` does once its options are understood: get the event, run the roles, show the result."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from skymap_operator.models import Simulation
from skymap_scanner.cli.display import progress_display
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import PreparationSettings, prepare
from skymap_scanner.event.sources import NAME_KEY, read_event
from skymap_scanner.i3 import FrameWriter, I3String
from skymap_scanner.reconstruction import load
from skymap_scanner.results import check_formats
from skymap_scanner.roles.local import BROKER_FILE, LocalScan, run_local
from skymap_scanner.roles.producer import ScanSettings
from skymap_scanner.roles.record import FILE as RECORD_FILE
from skymap_scanner.roles.record import Record, check_same, read_record, write_record
from skymap_scanner.roles.stop import Stop

#: The event as it was read, kept until the scan is done: a resumed scan fits the same bytes.
EVENT_FILE = "event.i3.zst"


@dataclass(frozen=True)
class Request:
    """One call of ``run``: the event's path or URL, or what to simulate."""

    event: str | Simulation
    folder: Path
    settings: ScanSettings
    select: tuple[int, int] | None = None
    workers: int | None = None
    formats: Sequence[str] = ()
    restart: bool = False
    suffix: str = ".i3.zst"
    max_task_seconds: float = 600.0

    @property
    def source(self) -> str:
        """The event as the record names it: an absolute path, a URL, or the simulation."""
        if isinstance(self.event, Simulation):
            return f"simulation {self.event.model_dump_json()}"
        place = self.event if "://" in self.event or self.event == "-" else str(Path(self.event).resolve())
        return place if self.select is None else f"{place} (event {self.select[0]}/{self.select[1]})"


def run(request: Request) -> None:
    """Scan, or go on with the scan of the folder, or show its result.

    Raises
    ------
    SkymapError
        If it cannot be done; the message says why.
    """
    folder = request.folder
    if request.restart:
        _forget(folder)
    wanted = Record.of(request.source, request.settings, tuple(request.formats))
    found = read_record(folder)
    if found is not None:
        check_same(folder, found, wanted)
        if found.finished:
            click.echo(f"{folder} holds this scan already, finished (--restart scans again).", err=True)
            _show(folder)
            return
    _keep_event(request)
    write_record(folder, wanted)
    scan = LocalScan(
        event=folder / EVENT_FILE,
        folder=folder,
        settings=request.settings,
        workers=request.workers or os.cpu_count() or 1,
        output=folder / f"{{stem}}{request.suffix}",
        formats=request.formats,
        max_task_seconds=request.max_task_seconds,
    )
    with progress_display(Console(stderr=True)) as show:
        finished = run_local(scan, show, Stop().on_signals())
    if not finished:
        again = shlex.join(["skymap-scanner", *sys.argv[1:]])
        click.echo(f"Stopped; nothing is lost. The same command goes on:\n    {again}", err=True)
        raise click.exceptions.Exit(130)
    write_record(folder, replace(wanted, finished=True))
    _tidy(folder)
    _show(folder)


def _keep_event(request: Request) -> None:
    """Read the event, check that it can be scanned as wanted, and keep it, unless an earlier run did."""
    path = request.folder / EVENT_FILE
    if path.exists():
        return
    check_formats(request.formats)
    load(request.settings.reconstruction, request.settings.parameters)
    event = _read(request.event, request.select)
    prepare(event, PreparationSettings(pulse_series=request.settings.pulse_series))
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {request.folder}: {error.strerror}") from error
    with FrameWriter(path) as writer:
        for stop, frame in event.frames.items():
            kept = frame.copy()
            if stop == "P":
                kept[NAME_KEY] = I3String(event.name)
            writer.write(kept)


def _read(event: str | Simulation, select: tuple[int, int] | None) -> Event:
    if isinstance(event, str):
        return read_event(event, select=select)
    from skymap_scanner.simulation import simulate

    return simulate(event.topology, ra=event.ra, dec=event.dec, energy=event.energy, seed=event.seed)


def _forget(folder: Path) -> None:
    for name in (RECORD_FILE, EVENT_FILE):
        (folder / name).unlink(missing_ok=True)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove what only an unfinished scan needs."""
    (folder / EVENT_FILE).unlink(missing_ok=True)
    for path in folder.glob(f"{BROKER_FILE}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _show(folder: Path) -> None:
    """Print the summary and name the files."""
    for summary in sorted(folder.glob("*.summary.txt")):
        click.echo(summary.read_text())
    click.echo(f"Files in {folder}:")
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name != RECORD_FILE:
            click.echo(f"  {path.name}")
