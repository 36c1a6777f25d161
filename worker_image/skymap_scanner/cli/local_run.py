"""Run one scan on this machine, for ``skymap-scanner run``: keep the event, run the roles, show the results."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from skymap_api.exit_codes import ExitCode
from skymap_api.progress import Progress, ProgressPhase
from skymap_api.resource import Simulation
from skymap_api.text import shell_line
from skymap_scanner.cli.broker_options import BrokerOptions
from skymap_scanner.cli.display import show_results
from skymap_scanner.cli.notice_options import notices_of
from skymap_scanner.cli.options import STATE_VARIABLE
from skymap_scanner.cli.page_process import PageProcess, live_page
from skymap_scanner.cli.progress_display import progress_display
from skymap_scanner.cli.scan_folder import (
    EVENT_FILE,
    discard_scan,
    keep_event,
    locked,
    remove_working_files,
    result_names,
    size_replaced,
    working_files,
)
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.event.sources import read_event
from skymap_scanner.file_systems import check_local
from skymap_scanner.machine import warn_of_memory, worker_count
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.locate import check_can_locate
from skymap_scanner.results import ScanResult, choose_formats, write_results
from skymap_scanner.roles.local.local import BROKER_FILE, LocalScan, broker_arguments, run_local
from skymap_scanner.roles.local.local_role import StartRole
from skymap_scanner.roles.local.record import FILE as RECORD_FILE
from skymap_scanner.roles.local.record import Record, check_same, check_software, read_record, unique_name, write_record
from skymap_scanner.roles.producer.planning import ScanSettings, event_facts
from skymap_scanner.roles.report_files import report_of_files, write_report
from skymap_scanner.roles.requirements import scan_requirements, writable_formats
from skymap_scanner.roles.scans import delete_scan
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.levels import most_pixels
from skymap_scanner.scan.seeds import Seeding

if TYPE_CHECKING:
    from skymap_scanner.cli.notices import NoticeOptions, Notices


@dataclass(frozen=True)
class RunRequest:
    """One call of ``run``: the event's path or URL, or what to simulate.

    ``formats`` are those that the user names, ``written`` those of them, or of all, that there is room for.

    ``broker`` is the shared broker, None for one of the scan's own in the folder. Unless ``named``, a scan on a shared
    broker gets a name that no other scan has. ``page_port``: port of the live page, 0 for any, None for no page.
    """

    event: str | Simulation
    folder: Path
    settings: ScanSettings
    select: EventSelection | None = None
    workers: int | None = None
    formats: Sequence[str] = ()
    written: Sequence[str] = ()
    restart: bool = False
    suffix: str = ".i3.zst"
    max_task_seconds: float = 600.0
    broker: BrokerOptions | None = None
    named: bool = True
    delete_topics: bool = False
    notices: NoticeOptions | None = None
    page_port: int | None = None

    @property
    def source(self) -> str:
        """The event as the record names it: an absolute path, a URL, or the simulation.

        A URL's query is replaced by a digest: it may hold credentials, and folders with results are passed on.
        """
        if isinstance(self.event, Simulation):
            return f"simulation {self.event.model_dump_json()}"
        is_path = "://" not in self.event and self.event != "-"
        source = str(Path(self.event).resolve()) if is_path else _without_query(self.event)
        return source if self.select is None else f"{source} (event {self.select})"

    @property
    def record(self) -> Record:
        """The record of this scan in its folder, but for its software."""
        url = None if self.broker is None else self.broker.url
        return Record.of(self.source, self.settings, tuple(self.formats), url)

    @property
    def software(self) -> str:
        """What makes the fits; raises SkymapError if there is no such reconstruction."""
        return software_of(load(self.settings.reconstruction, self.settings.parameters))

    def with_name(self, name: str) -> RunRequest:
        """Return the request with the scan's name chosen."""
        return replace(self, settings=replace(self.settings, name=name), named=True)


def _without_query(url: str) -> str:
    address, question, query = url.partition("?")
    return f"{address}?(digest {hashlib.sha256(query.encode()).hexdigest()[:12]})" if question else address


def run(request: RunRequest, start: StartRole) -> None:
    """Run the scan, resume the one in the folder, or show its results if it is finished. ``start`` starts the roles.

    The folder is this run's until the last notice is sent and the last page is closed.

    Raises
    ------
    SkymapError
        If the scan cannot be run; the message says why.
    """
    with locked(request.folder):
        _run_in_folder(request, start)


def _run_in_folder(request: RunRequest, start: StartRole) -> None:
    folder = request.folder
    if request.restart:
        _check_place_of_broker(request)
        request = _with_room(request)  # both refuse before anything is deleted
        discard_scan(folder, request.event, request.broker)
    found = read_record(folder)
    if found is not None:
        if not request.named:
            request = request.with_name(found.name)
        check_same(folder, found, request.record)
        if found.finished:
            _show_finished(request, found)
            return
    elif request.broker is None and (folder / BROKER_FILE).exists():
        raise InputError(
            f"{folder} holds a scan ({BROKER_FILE}) without its record {RECORD_FILE}: choose another folder, or "
            "--restart to delete it"
        )
    _check_place_of_broker(request)
    if not request.written:
        request = _with_room(request)
    software = request.software
    if found is not None:
        check_software(folder, found, software)
    if found is None or not (folder / EVENT_FILE).exists():  # without a record, that of a scan which never began
        _keep_event(request)
    if not request.named:
        request = request.with_name(unique_name(read_event(str(folder / EVENT_FILE)), request.settings, software))
    record = replace(request.record, software=software)
    write_record(folder, record)
    with notices_of(folder, request.notices) as notices:
        if notices is not None:
            prepared = prepare(read_event(str(folder / EVENT_FILE)), request.settings.pulse_series)
            notices.begin(event_facts(prepared, ()))
        _scan_to_end(request, record, notices, start)


def _show_finished(request: RunRequest, record: Record) -> None:
    """Show the results of a finished scan, and complete the clean-up and the notices of an interrupted run."""
    folder = request.folder
    click.echo(f"{folder} holds this scan already, finished (--restart scans again).", err=True)
    if missing := _missing_formats(request.formats, record.formats):
        _write_other_formats(folder, record, missing)
    show_results(folder, result_names(folder))
    if working_files(folder):
        remove_working_files(folder)
    with notices_of(folder, request.notices) as notices:
        _end(request, notices, Stop().on_signals())


def _scan_to_end(request: RunRequest, record: Record, notices: Notices | None, start: StartRole) -> None:
    """Run the scan, show and announce its results; exits if it is stopped before."""
    folder, scan, stop = request.folder, _local_scan(request), Stop().on_signals()
    if request.workers is not None:
        warn_of_memory(request.workers)
    _announce(scan)
    with live_page(scan, request.page_port) as page:
        with progress_display(Console(stderr=True)) as show:
            finished = run_local(scan, page.watching(_announcing(show, notices)), stop, start)
        if not finished:
            again = shell_line(["skymap-scanner", *(word for word in sys.argv[1:] if word != "--restart")])
            click.echo(f"Stopped; nothing is lost. The same command resumes the scan:\n    {again}", err=True)
            raise click.exceptions.Exit(stop.exit_code)
        write_record(folder, replace(record, finished=True))
        show_results(folder, result_names(folder))
        try:
            _end(request, notices, stop, page)
        finally:
            remove_working_files(folder)


def _announcing(show: Callable[[Progress], None], notices: Notices | None) -> Callable[[Progress], None]:
    """Return a function that shows the progress, and sends the result once its first file is written."""

    def both(progress: Progress) -> None:
        show(progress)
        if notices is not None and progress.phase is ProgressPhase.WRITING and progress.outputs:
            notices.mapped()

    return both


def _end(request: RunRequest, notices: Notices | None, stop: Stop, page: PageProcess | None = None) -> None:
    """Send the remaining notices while open pages load the report, then delete the scan's topics if requested.

    A stop ends the waiting for both: the results are complete, and the outbox keeps what was not sent.
    """
    if page is not None:
        page.show_report()
    try:
        code = ExitCode.DONE if notices is None else notices.end(stopped=lambda: stop.requested)
    finally:
        if page is not None:
            page.finish(stop)  # it reads the topics until then
        _delete_topics_or_say_how(request)
    if code is not ExitCode.DONE:
        raise click.exceptions.Exit(stop.exit_code if stop.requested else code)


def _check_place_of_broker(request: RunRequest) -> None:
    """Check that the folder can hold the embedded broker, if it would; raises InputError."""
    if request.broker is None:
        check_local(request.folder / BROKER_FILE)


def _with_room(request: RunRequest) -> RunRequest:
    """Return the request with the formats that there is room for; raises InputError as `writable_formats`."""
    settings = request.settings
    first = settings.seeds if settings.first_seeds is None else settings.first_seeds
    need = scan_requirements(
        most_pixels(settings.levels, settings.area, settings.pixels),
        Seeding(settings.seeds, first, settings.levels[0].nside),
        settings.calibrate,
        keep_all=settings.keep_all_seeds,
    )
    replaced = size_replaced(request.folder, request.event, restart=request.restart)
    formats, _ = writable_formats(
        need, request.formats, named=bool(request.formats), folder=request.folder, replaced=replaced
    )
    return replace(request, written=formats)


def _missing_formats(named: Sequence[str], written: Sequence[str]) -> list[str]:
    """Return the formats that a finished scan is not written in yet; without names, it is all that can be written.

    One that was named is written. Of all, some may have been left out.
    """
    if not named and not written:
        return []
    return [one for one in named or choose_formats() if one not in written]


def _write_other_formats(folder: Path, record: Record, formats: Sequence[str]) -> None:
    """Write a finished scan in further formats, from one of its result files.

    Those of an earlier scan in this folder are not there any more: ``--restart`` has deleted them.
    """
    found = sorted(folder.glob("run*.npz")) + sorted(folder.glob("run*_*[0-9].json"))
    if not found:
        raise InputError(
            f"{folder} holds neither the json nor the npz file of this finished scan, from which other formats are "
            "made: --restart scans again"
        )
    write_results(ScanResult.read(found[0]), folder, formats)
    if "report" in formats:
        write_report(folder, report_of_files(found[0]))
    if record.formats:  # else it has all
        write_record(folder, replace(record, formats=(*record.formats, *formats)))


def _local_scan(request: RunRequest) -> LocalScan:
    folder, state = request.folder, os.environ.get(STATE_VARIABLE)
    scan = LocalScan(
        event=folder / EVENT_FILE,
        folder=folder,
        settings=request.settings,
        workers=worker_count() if request.workers is None else request.workers,
        output=folder / f"{{stem}}{request.suffix}",
        formats=request.written,
        max_task_seconds=request.max_task_seconds,
        state=Path(state) if state else None,
    )
    if request.broker is None:
        return scan
    return replace(scan, shared=request.broker.url, access=request.broker.access)


def _announce(scan: LocalScan) -> None:
    """Print what workers elsewhere need to take part."""
    if scan.shared is not None:
        click.echo(f"Scan {scan.settings.name} over {scan.broker}", err=True)
    if not scan.workers:
        click.echo(f"No workers are started here; start each of them with:\n    {_command('worker', scan)}", err=True)


def _command(words: str, scan: LocalScan) -> str:
    """Return a command for this scan as the user can type it."""
    where = broker_arguments(scan.broker, scan.access)
    return shell_line(["skymap-scanner", *words.split(), "-n", scan.settings.name, *where])


def _delete_topics_or_say_how(request: RunRequest) -> None:
    """Delete the finished scan's topics from a shared broker if requested, else print the command that does."""
    if request.broker is None:
        return
    if not request.delete_topics:
        how = _command("topics delete", _local_scan(request))
        click.echo(f"The scan's topics are kept on the broker; this deletes them:\n    {how}", err=True)
        return
    with request.broker.open() as broker:
        deleted = delete_scan(broker, request.settings.name)
    click.echo(f"{len(deleted)} topics of scan {request.settings.name} are deleted.", err=True)


def _keep_event(request: RunRequest) -> None:
    """Read the event, check that it can be scanned with these settings, and keep it."""
    load(request.settings.reconstruction, request.settings.parameters)
    event = _read(request.event, request.select, request.settings.pulse_series)
    prepared = prepare(event, request.settings.pulse_series)
    if request.settings.calibrate:
        check_can_locate(request.settings.reconstruction, request.settings.parameters, prepared)
    keep_event(request.folder, event)


def _read(event: str | Simulation, select: EventSelection | None, pulse_series: str | None) -> Event:
    if isinstance(event, str):
        return read_event(event, select=select, pulse_series=pulse_series)
    from skymap_scanner.simulation import simulate

    return simulate(event.topology, ra=event.ra, dec=event.dec, energy=event.energy, seed=event.seed)
