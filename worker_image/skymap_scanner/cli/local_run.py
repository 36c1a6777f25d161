"""What ``run`` does once its options are understood: get the event, run the roles, show the result."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from skymap_api.resource import Simulation
from skymap_scanner.cli.options import BrokerOptions
from skymap_scanner.cli.progress_display import progress_display
from skymap_scanner.cli.result_display import show_results
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import PreparationSettings, prepare
from skymap_scanner.event.sources import NAME_KEY, read_event
from skymap_scanner.i3 import FrameWriter, I3String
from skymap_scanner.reconstruction import load
from skymap_scanner.results import check_formats
from skymap_scanner.roles.local import BROKER_FILE, LocalScan, alone, broker_arguments, run_local
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.roles.record import FILE as RECORD_FILE
from skymap_scanner.roles.record import Record, check_same, read_record, unique_name, write_record
from skymap_scanner.roles.scans import delete_scan
from skymap_scanner.roles.stop import Stop

#: The event as it was read, kept until the scan is done: a resumed scan fits the same bytes.
EVENT_FILE = "event.i3.zst"


@dataclass(frozen=True)
class Request:
    """One call of ``run``: the event's path or URL, or what to simulate.

    ``broker``: where the scan shares a broker with others, None for one of its own in the folder. Unless ``named``, a
    scan on a shared broker gets a name that no other scan has.
    """

    event: str | Simulation
    folder: Path
    settings: ScanSettings
    select: tuple[int, int] | None = None
    workers: int | None = None
    formats: Sequence[str] = ()
    restart: bool = False
    suffix: str = ".i3.zst"
    max_task_seconds: float = 600.0
    broker: BrokerOptions | None = None
    named: bool = True
    delete_topics: bool = False

    @property
    def source(self) -> str:
        """The event as the record names it: an absolute path, a URL, or the simulation.

        Of a URL's query a digest: it may hold what opens the file, and a folder with results is passed on.
        """
        if isinstance(self.event, Simulation):
            return f"simulation {self.event.model_dump_json()}"
        place = _told(self.event) if "://" in self.event or self.event == "-" else str(Path(self.event).resolve())
        return place if self.select is None else f"{place} (event {self.select[0]}/{self.select[1]})"

    @property
    def record(self) -> Record:
        """What the folder keeps of it."""
        url = None if self.broker is None else self.broker.url
        return Record.of(self.source, self.settings, tuple(self.formats), url)

    def with_name(self, name: str) -> Request:
        """Return it with the scan's name chosen."""
        return replace(self, settings=replace(self.settings, name=name), named=True)


def _told(url: str) -> str:
    address, question, query = url.partition("?")
    return f"{address}?(digest {hashlib.sha256(query.encode()).hexdigest()[:12]})" if question else address


def run(request: Request) -> None:
    """Scan, or go on with the scan of the folder, or show its result.

    Raises
    ------
    SkymapError
        If it cannot be done; the message says why.
    """
    folder = request.folder
    if request.restart:
        _forget(request)
    found = read_record(folder)
    if found is not None:
        if not request.named:
            request = request.with_name(found.name)
        check_same(folder, found, request.record)
        if found.finished:
            click.echo(f"{folder} holds this scan already, finished (--restart scans again).", err=True)
            show_results(folder)
            _clean_up(request)
            return
    _keep_event(request)
    if not request.named:
        request = request.with_name(unique_name(read_event(str(folder / EVENT_FILE)), request.settings))
    write_record(folder, request.record)
    scan = _local_scan(request)
    _announce(scan)
    with progress_display(Console(stderr=True)) as show:
        finished = run_local(scan, show, Stop().on_signals())
    if not finished:
        again = shlex.join(["skymap-scanner", *(word for word in sys.argv[1:] if word != "--restart")])
        click.echo(f"Stopped; nothing is lost. The same command goes on:\n    {again}", err=True)
        raise click.exceptions.Exit(130)
    write_record(folder, replace(request.record, finished=True))
    _tidy(folder)
    show_results(folder)
    _clean_up(request)


def _local_scan(request: Request) -> LocalScan:
    folder = request.folder
    scan = LocalScan(
        event=folder / EVENT_FILE,
        folder=folder,
        settings=request.settings,
        workers=(os.cpu_count() or 1) if request.workers is None else request.workers,
        output=folder / f"{{stem}}{request.suffix}",
        formats=request.formats,
        max_task_seconds=request.max_task_seconds,
    )
    if request.broker is None:
        return scan
    return replace(scan, shared=request.broker.url, access=request.broker.access)


def _announce(scan: LocalScan) -> None:
    """Say what others need to take part."""
    if scan.shared is not None:
        click.echo(f"Scan {scan.settings.name} over {scan.broker}", err=True)
    if not scan.workers:
        click.echo(f"Without workers here; each of them is:\n    {_command('worker', scan)}", err=True)


def _command(words: str, scan: LocalScan) -> str:
    """Write a command for this scan as it can be typed."""
    where = broker_arguments(scan.broker, scan.access)
    return shlex.join(["skymap-scanner", *words.split(), "-n", scan.settings.name, *where])


def _clean_up(request: Request) -> None:
    """Delete the finished scan from a shared broker if that is wanted, else say how."""
    if request.broker is None:
        return
    if not request.delete_topics:
        how = _command("topics delete", _local_scan(request))
        click.echo(f"The scan's topics are kept on the broker; this deletes them:\n    {how}", err=True)
        return
    with request.broker.open() as broker:
        deleted = delete_scan(broker, request.settings.name)
    click.echo(f"{len(deleted.topics)} topics of scan {request.settings.name} are deleted.", err=True)


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


def _forget(request: Request) -> None:
    """Forget the folder's scan, with its topics on a shared broker; a scan of another folder is left alone."""
    folder = request.folder
    if not folder.exists():
        return
    with alone(folder):
        try:
            found = read_record(folder)
        except InputError:  # no record of ours: there is nothing to delete elsewhere
            found = None
        if found is not None and found.broker is not None:
            if request.broker is None or found.broker != request.broker.url:
                raise InputError(
                    f"the scan of {folder} is on {found.broker}: give the same --broker, so that --restart can delete "
                    "its topics there, or choose another folder"
                )
            with request.broker.open() as broker:
                delete_scan(broker, found.name)
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
