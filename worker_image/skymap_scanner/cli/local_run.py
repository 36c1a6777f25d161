"""Run one scan on this machine, for ``skymap-scanner run``: keep the event, run the roles, show the results."""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from skymap_api.exit_codes import ExitCode
from skymap_api.names import RESULT_FORMATS
from skymap_api.resource import Simulation
from skymap_api.text import shell_line
from skymap_scanner.atomic_file import make_folder, sync_folder
from skymap_scanner.cli.broker_options import BrokerOptions
from skymap_scanner.cli.display import show_results
from skymap_scanner.cli.notice_options import notices_of
from skymap_scanner.cli.page_process import live_page
from skymap_scanner.cli.progress_display import progress_display
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.selection import EventSelection
from skymap_scanner.event.sources import CHOICE_KEY, NAME_KEY, read_event
from skymap_scanner.file_systems import check_local
from skymap_scanner.i3 import FrameWriter, I3String
from skymap_scanner.machine import worker_count
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.locate import check_can_locate
from skymap_scanner.results import ScanResult, write_results
from skymap_scanner.roles.full_disk import is_disk_full
from skymap_scanner.roles.local.local import BROKER_FILE, LocalScan, broker_arguments, locked, run_local
from skymap_scanner.roles.local.record import FILE as RECORD_FILE
from skymap_scanner.roles.local.record import Record, check_same, check_software, read_record, unique_name, write_record
from skymap_scanner.roles.producer.planning import ScanSettings, event_facts
from skymap_scanner.roles.report_files import report_of_files, write_report
from skymap_scanner.roles.requirements import scan_requirements, writable_formats
from skymap_scanner.roles.saver.progress_reporter import PARTIAL
from skymap_scanner.roles.scans import delete_scan
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.levels import most_pixels
from skymap_scanner.scan.seeds import Seeding

if TYPE_CHECKING:
    from skymap_scanner.cli.notices import NoticeOptions, Notices

#: The event as it was read, kept until the scan is finished, so that a resumed scan fits the same bytes.
EVENT_FILE = "event.i3.zst"
#: How the names of result files begin: the event, and the nside of each level.
RESULT_NAME = re.compile(r"run\d{8}\.evt\d{12}[^/]*?(_\d+)+\.")


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


def run(request: RunRequest) -> None:
    """Run the scan, resume the one in the folder, or show its results if it is finished.

    Raises
    ------
    SkymapError
        If the scan cannot be run; the message says why.
    """
    folder = request.folder
    if request.restart:
        _check_place_of_broker(request)
        request = _with_room(request)  # both refuse before anything is deleted
        _discard_earlier_scan(request)
    found = read_record(folder)
    if found is not None:
        if not request.named:
            request = request.with_name(found.name)
        check_same(folder, found, request.record)
        if found.finished:
            click.echo(f"{folder} holds this scan already, finished (--restart scans again).", err=True)
            if found.formats != request.record.formats:
                _write_other_formats(request, found)
            show_results(folder)
            with notices_of(folder, request.notices) as notices:
                _end(request, notices)
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
        _scan_to_end(request, record)
        _end(request, notices)


def _end(request: RunRequest, notices: Notices | None) -> None:
    """Send what is left to send, and leave the shared broker."""
    stop = Stop().on_signals()
    try:
        delivered = notices is None or notices.end(stopped=lambda: stop.requested)
    finally:
        _delete_topics_or_say_how(request)
    if not delivered:
        raise click.exceptions.Exit(ExitCode.UNAVAILABLE)


def _scan_to_end(request: RunRequest, record: Record) -> None:
    """Run the scan and show its results; exits if it is stopped before."""
    folder, scan = request.folder, _local_scan(request)
    _announce(scan)
    if not _run_shown(scan, request.page_port):
        again = shell_line(["skymap-scanner", *(word for word in sys.argv[1:] if word != "--restart")])
        click.echo(f"Stopped; nothing is lost. The same command resumes the scan:\n    {again}", err=True)
        raise click.exceptions.Exit(ExitCode.INTERRUPTED)
    write_record(folder, replace(record, finished=True))
    _remove_working_files(folder)
    show_results(folder)


def _run_shown(scan: LocalScan, page_port: int | None) -> bool:
    """Run the scan to its end, with its progress on the terminal and on the page; False when stopped before."""
    with live_page(scan, page_port) as page:
        with progress_display(Console(stderr=True)) as show:
            finished = run_local(scan, page.watching(show), Stop().on_signals())
        if finished:
            page.finish()
    return finished


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
    replaced = sum(map(_size, _replaced_files(request)))
    formats, _ = writable_formats(
        need, request.formats, named=bool(request.formats), folder=request.folder, replaced=replaced
    )
    return replace(request, written=formats)


def _replaced_files(request: RunRequest) -> list[Path]:
    """Return the files in the folder that ``--restart`` will delete, or that a resumed scan writes again."""
    found = [request.folder / PARTIAL]
    if _earlier_scan(request.folder) is not None:
        found += _result_files(request)
    if request.restart:
        for path in _working_files(request.folder):
            found += path.rglob("*") if path.is_dir() else [path]
    return found


def _size(path: Path) -> int:
    """Return the size (bytes) of a file; 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _write_other_formats(request: RunRequest, record: Record) -> None:
    """Write a finished scan in other formats than before, from one of its result files.

    Those of an earlier scan in this folder are not there any more: ``--restart`` has deleted them.
    """
    found = sorted(request.folder.glob("run*.npz")) + sorted(request.folder.glob("run*_*[0-9].json"))
    if not found:
        raise InputError(
            f"{request.folder} holds neither the json nor the npz file of this finished scan, from which other formats "
            "are made: --restart scans again"
        )
    with locked(request.folder):
        write_results(ScanResult.read(found[0]), request.folder, request.formats or None)
        if "report" in (request.formats or RESULT_FORMATS):
            write_report(request.folder, report_of_files(found[0]))
        write_record(request.folder, replace(record, formats=request.record.formats))


def _local_scan(request: RunRequest) -> LocalScan:
    folder = request.folder
    scan = LocalScan(
        event=folder / EVENT_FILE,
        folder=folder,
        settings=request.settings,
        workers=worker_count() if request.workers is None else request.workers,
        output=folder / f"{{stem}}{request.suffix}",
        formats=request.written,
        max_task_seconds=request.max_task_seconds,
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
    try:
        make_folder(request.folder)
    except OSError as error:
        raise InputError(f"cannot create the folder {request.folder}: {error.strerror}") from error
    with FrameWriter(request.folder / EVENT_FILE) as writer:
        for stop, frame in event.frames.items():
            kept = frame.copy()
            if stop == "P":
                kept[NAME_KEY] = I3String(event.name)
                if event.choice:
                    kept[CHOICE_KEY] = I3String(event.choice)
            writer.write(kept)


def _read(event: str | Simulation, select: EventSelection | None, pulse_series: str | None) -> Event:
    if isinstance(event, str):
        return read_event(event, select=select, pulse_series=pulse_series)
    from skymap_scanner.simulation import simulate

    return simulate(event.topology, ra=event.ra, dec=event.dec, energy=event.energy, seed=event.seed)


def _discard_earlier_scan(request: RunRequest) -> None:
    """Delete the scan of the folder, including its topics on a shared broker; scans of other folders stay.

    The record goes last, and counts as unfinished from the start: whenever this ends, by a power cut too, the folder
    holds that scan, which can be resumed or deleted, and never a part of it under the record of another.
    """
    folder = request.folder
    if not folder.exists():
        return
    with locked(folder):
        found = _earlier_scan(folder)
        if found is not None and found.broker is not None:
            if request.broker is None or found.broker != request.broker.url:
                raise InputError(
                    f"the scan of {folder} is on {found.broker}: give the same --broker, so that --restart can delete "
                    "its topics there, or choose another folder"
                )
            with request.broker.open() as broker:
                delete_scan(broker, found.name)
        if found is not None:
            _mark_unfinished(folder, found)
            for path in _result_files(request):
                path.unlink()
        _remove_working_files(folder)
        sync_folder(folder)
        (folder / RECORD_FILE).unlink(missing_ok=True)
        sync_folder(folder)


def _mark_unfinished(folder: Path, record: Record) -> None:
    """Note that the results are no longer complete, unless the disk is full: deleting them makes room."""
    try:
        write_record(folder, replace(record, finished=False))
    except InputError as error:
        if not is_disk_full(error):
            raise


def _earlier_scan(folder: Path) -> Record | None:
    """Return the record of the scan in a folder; None without one, or if it is not of ours."""
    try:
        return read_record(folder)
    except InputError:
        return None


def _result_files(request: RunRequest) -> list[Path]:
    """Return the result files in the folder: they are named after the event and the levels, ``run…_4_8.json``."""
    given = Path(request.event).resolve() if isinstance(request.event, str) else None
    found = request.folder.glob("run*.evt*_*.*")
    return [path for path in found if RESULT_NAME.match(path.name) and path.resolve() != given]


def _working_files(folder: Path) -> list[Path]:
    """Return the files and folders that only an unfinished scan needs."""
    return [folder / EVENT_FILE, *folder.glob(f"{BROKER_FILE}*")]


def _remove_working_files(folder: Path) -> None:
    (folder / BROKER_FILE).unlink(missing_ok=True)
    sync_folder(folder)  # without its -wal file beside it, a database may be damaged
    for path in _working_files(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
