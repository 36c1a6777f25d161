"""The saver: reads the best fit of every pixel, publishes the progress, and finally writes the files.

    plan, collected ─▶ progress, partial result ─▶ .i3 file and results

It reads ``collected`` from its start and acknowledges nothing. A saver that restarts, whenever it ended, reads
everything again and writes the same files. Once they are written and the topic is deleted, it has nothing to do.
"""

from __future__ import annotations

import io
import logging
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from skymap_api.names import ScanTopics
from skymap_api.progress import Progress, ProgressPhase
from skymap_api.resource.status import NoticesStatus
from skymap_scanner.atomic_file import make_folder
from skymap_scanner.broker.protocol import Broker
from skymap_scanner.errors import BrokerDenied, InputError
from skymap_scanner.i3 import Frame, FrameWriter, read_frames
from skymap_scanner.i3.compression import compressor
from skymap_scanner.report import ScanReport
from skymap_scanner.results import ScanResult, check_formats, write_results
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.full_disk import is_disk_full
from skymap_scanner.roles.readers import BestFitReader, BestFits, PlanReader
from skymap_scanner.roles.report_files import write_history, write_report
from skymap_scanner.roles.requirements import lacking_disk, requirements_of, requirements_so_far, writable_formats
from skymap_scanner.roles.saver.progress_reporter import PARTIAL, Outlook, ProgressReporter, SaveAttempts
from skymap_scanner.roles.saver.scan_state import scan_result
from skymap_scanner.roles.saver.spool import Spool, fit_history, statement_of, with_event
from skymap_scanner.roles.scans import read_progress
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import FitStatement, decode_fits
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.scan.best_fits import SeedFit, best_first
from skymap_scanner.scan.levels import parse_area
from skymap_scanner.scan.pixels import Pixel, read_ranges
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import ScanEntry
from skymap_scanner.scan.seeds import Round

log = logging.getLogger(__name__)

#: Formats that hold the whole result, from which notices and all other files but the .i3 file are made.
WHOLE_RESULT = ("json", "npz")


@dataclass(frozen=True, slots=True)
class SaverSettings:
    """Where the .i3 file and the results are written, in which formats, and which scan is expected.

    ``{stem}`` in the name of ``output`` stands for run, event and levels, as in the names of the results. ``nside``,
    ``area``, ``pixels``: what the user expects of the scan; a different scan is an error. Without ``formats``, all are
    written that there is memory for.
    """

    output: Path
    results: Path
    formats: Sequence[str] = ()
    nside: int | None = None
    area: str | None = None
    pixels: str | None = None
    delete_collected: bool = False


class Announcer(Protocol):
    """Announces a scan; handles errors of its own, so that they do not fail the saver."""

    def began(self, scan: ScanEntry) -> None:
        """Announce that the scan has begun."""

    def mapped(self, result: Path) -> None:
        """Announce the result, whose JSON or npz file is written; the other files follow."""

    def written(self, outputs: Sequence[Path], changed: Callable[[], None]) -> bool:
        """Announce that its files are written, and wait until that is done or given up: the last call.

        ``changed`` is called when the status is. False if a stop was requested first.
        """

    def status(self) -> NoticesStatus:
        """Return what was announced so far."""


@dataclass(frozen=True, slots=True)
class _Fits:
    """What a saver has read of a scan: the plan, the best fits, and their frames on disk."""

    plan_reader: PlanReader
    collected: BestFitReader
    spool: Spool

    @property
    def plan(self) -> Plan:
        return self.plan_reader.plan

    @property
    def best(self) -> BestFits:
        return self.collected.best_fits

    def receive(self, timeout: float) -> bool:
        """Read the best fit of the next new round; False if none arrives within ``timeout`` seconds."""
        found = self.collected.receive(timeout)
        if found is not None:
            self.spool.write(self.best.round_of(found.fit), found)
        return found is not None

    def statement(self, pixel: Pixel) -> FitStatement:
        """Return what the best fit of a pixel states."""
        return statement_of(self.spool, self.best, pixel)

    def result(self) -> ScanResult:
        """Return the result so far."""
        return scan_result(self.plan, self.best, self.statement)


@contextmanager
def _reading(
    broker: Broker, topics: ScanTopics, settings: SaverSettings, scan: ScanEntry, plan_reader: PlanReader
) -> Iterator[_Fits]:
    with (
        BestFitReader(broker, topics.collected, FitValidator(scan)) as collected,
        Spool(settings.output.parent) as spool,
    ):
        yield _Fits(plan_reader, collected, spool)


def save(
    broker: Broker,
    topics: ScanTopics,
    settings: SaverSettings,
    stop: Stop,
    attempts: SaveAttempts | None = None,
    announcer: Announcer | None = None,
) -> bool:
    """Wait for all pixels, write the files and announce them: True when done, False if a stop was requested first.

    ``attempts``: a caller that tries again after an error passes the same object each time; the progress then shows why
    the last attempt failed. Raises InputError if the scan is not the expected one, a file cannot be written, or the
    best fits were deleted and the files are elsewhere; BrokerError if the broker rejects a request; BrokerUnavailable
    if it cannot be reached. Too little memory for the results is such an error at once, too little disk is shown in the
    progress as long as that lasts.
    """
    _check_settings(settings)
    _make_folders_unless_full(settings)
    with PlanReader(broker, topics.plan) as plan_reader:
        scan = plan_reader.wait_for_scan(stop)
        if scan is None:
            return False
        check_expected(scan, settings)
        last = read_progress(broker, topics.progress)
        if _is_saved(broker, topics, settings, last):
            return True
        if announcer is not None:
            announcer.began(scan)
        need = requirements_of(scan)
        formats, left_out = writable_formats(need, settings.formats, named=bool(settings.formats))
        settings = replace(settings, formats=formats)
        threading.Thread(target=_import_ahead, args=(formats,), name="imports", daemon=True).start()
        with _reading(broker, topics, settings, scan, plan_reader) as fits:
            outlook = Outlook(
                last=last,
                left_out="; ".join(left_out),
                shortage=lambda: lacking_disk(need.disk_of(formats) - fits.spool.size, settings.output.parent),
                notices=lambda: None if announcer is None else announcer.status(),
            )
            with _reporting(broker, topics, settings, fits, attempts or SaveAttempts(), outlook) as reporter:
                outputs = _save(broker, settings, stop, fits, reporter, announcer)
                if outputs is None:
                    return False
                changed = partial(reporter.publish, ProgressPhase.DONE, outputs)
                changed()
                if announcer is not None and not announcer.written(outputs, changed):
                    return False
    if settings.delete_collected:
        broker.delete_topic(topics.collected)
    return True


def _check_settings(settings: SaverSettings) -> None:
    """Check what needs no scan, so that nobody waits for one in vain; raises InputError."""
    check_formats(settings.formats)
    compressor(settings.output)
    if settings.area is not None:
        parse_area(settings.area)
    if settings.pixels is not None:
        read_ranges(settings.pixels)


def _is_saved(broker: Broker, topics: ScanTopics, settings: SaverSettings, last: Progress | None) -> bool:
    """Return whether the files are written, and the best fits deleted; raises InputError if the files are elsewhere."""
    if last is None or last.phase is not ProgressPhase.DONE:
        return False
    try:
        if topics.collected in broker.topics(topics.collected):
            return False
    except BrokerDenied:  # a role that may not list topics cannot have deleted one
        return False
    folders = {settings.output.parent, settings.results}
    for name in last.outputs:
        if not any((folder / name).exists() for folder in folders):
            where = " or ".join(sorted(map(str, folders)))
            raise InputError(f"the files of this scan are written, its best fits deleted: {name} is not in {where}")
    log.info("the files of this scan are written already, its best fits deleted")
    return True


@contextmanager
def _reporting(
    broker: Broker, topics: ScanTopics, settings: SaverSettings, fits: _Fits, attempts: SaveAttempts, outlook: Outlook
) -> Iterator[ProgressReporter]:
    """Open the progress reporter, which also reports a full disk before that error is raised."""
    with broker.producer(topics.progress, f"saver-{uuid.uuid4()}") as progress:
        reporter = ProgressReporter(
            progress, fits.plan, fits.collected, fits.statement, settings.results, attempts, outlook
        )
        try:
            yield reporter
        except (OSError, InputError) as error:
            if is_disk_full(error):
                reporter.fail(str(error))
            raise


def save_now(broker: Broker, topics: ScanTopics, settings: SaverSettings) -> ScanResult:
    """Write the files from what the topics hold now; return what they contain, which may be a part of the scan.

    Waits for nothing, publishes nothing, and deletes nothing. Raises InputError if no scan or no fit is there, another
    version of the scanner has begun it, or there is no memory or disk for the files of the levels so far, or of a named
    format; BrokerError and BrokerUnavailable as `save`.
    """
    check_formats(settings.formats)
    _make_folders(settings)
    if topics.plan not in broker.topics(topics.plan):  # a reader would create it
        raise InputError(f"{broker.url} has no scan of this name: give another --name or --broker")
    with PlanReader(broker, topics.plan) as plan_reader:
        scan = plan_reader.begun_scan()
        if scan is None:
            raise InputError("the scan has not begun yet: its plan is empty")
        if plan_reader.update().levels:
            need, named = requirements_so_far(scan, plan_reader.plan), bool(settings.formats)
            formats, _ = writable_formats(need, settings.formats, named=named, folder=settings.output.parent)
            settings = replace(settings, formats=formats)
        with _reading(broker, topics, settings, scan, plan_reader) as fits:
            while fits.receive(timeout=0):
                pass
            plan_reader.update()
            if not any(pixel in fits.best for pixel in fits.plan.planned()):
                raise InputError("the scan has no fit yet: there is nothing to save")
            _write(broker, settings, fits)
            return fits.result()


def _import_ahead(formats: Collection[str]) -> None:
    """Import what files of these formats need, which takes a second; what is missing is left to their writers."""
    modules = ["results.summary", "results.geojson", "results.moc"] if set(formats) - {"json", "npz"} else []
    modules += ["results.plots"] if "png" in formats else []
    modules += ["report.content", "report.page"] if "report" in formats else []
    for module in modules:
        with suppress(Exception):
            import_module(f"skymap_scanner.{module}")


def _save(
    broker: Broker,
    settings: SaverSettings,
    stop: Stop,
    fits: _Fits,
    reporter: ProgressReporter,
    announcer: Announcer | None,
) -> list[Path] | None:
    """Collect all pixels and write the files; None if a stop was requested first."""
    _make_folders(settings)
    while not stop.requested:
        received = fits.receive(timeout=0.1)
        plan = fits.plan_reader.update()
        if not received:
            reporter.caught_up()
            if plan.complete(fits.best.has):
                break
        reporter.report()
    if stop.requested:
        return None
    reporter.publish(ProgressPhase.WRITING)

    def mapped(files: Sequence[Path]) -> None:
        reporter.publish(ProgressPhase.WRITING, files)
        if announcer is not None:
            announcer.mapped(files[0])

    outputs = _write(broker, settings, fits, mapped)
    (settings.results / PARTIAL).unlink(missing_ok=True)
    log.info("%d pixels written to %s", sum(map(len, plan.levels.values())), outputs[0])
    return outputs


def check_expected(scan: ScanEntry, settings: SaverSettings) -> None:
    """Check that the scan is the one that the user expects.

    Raises InputError if it is a different one, whose pixels would never match.
    """
    if settings.nside is not None and scan.levels != f"{settings.nside}:0":
        raise InputError(f"scan {scan.name} has the levels {scan.levels}, not nside {settings.nside} alone")
    if settings.area is not None and (scan.area is None or parse_area(settings.area) != scan.parsed_area()):
        raise InputError(f"scan {scan.name} has the area {scan.area or 'whole sky'}, not {settings.area}")
    if settings.pixels is not None and (
        scan.pixels is None or set(read_ranges(settings.pixels)) != set(read_ranges(scan.pixels))
    ):
        raise InputError(f"scan {scan.name} has the pixels {scan.pixels or 'whole sky'}, not {settings.pixels}")


def _write(
    broker: Broker,
    settings: SaverSettings,
    fits: _Fits,
    mapped: Callable[[Sequence[Path]], None] = lambda _files: None,
) -> list[Path]:
    """Write the result, the .i3 file, then all that is made of them, last the report.

    ``mapped`` is called once the files of the result are written: pictures take seconds, and notices need none.
    """
    result, plan, scan = fits.result(), fits.plan, fits.collected.scan
    whole = [name for name in settings.formats if name in WHOLE_RESULT]
    first = write_results(result, settings.results, whole) if whole else []
    if first:
        mapped(first)
    output = settings.output.with_name(settings.output.name.replace("{stem}", result.stem))
    with FrameWriter(output) as writer:
        for topic in scan.event.metadata_topics:
            writer.write(read_metadata(broker, topic))
        for pixel in (*plan.planned(), *plan.resimulations):
            rounds = [Round(pixel, number) for number in range(plan.rounds_of(pixel))]
            done = [fits.spool.read(one) for one in rounds if fits.best.has(one)]  # all, unless saved early
            for frame in kept_frames(done, keep_all=scan.keep_all_seeds):
                writer.write(frame)
    rest = [name for name in settings.formats if name not in WHOLE_RESULT]
    outputs = [output, *first, *(write_results(result, settings.results, rest) if rest else ())]
    if "report" in settings.formats:
        history = list(fit_history(plan, fits.best, fits.spool))
        outputs.append(write_history(settings.results, result, history))
        beside = sorted(path.name for path in outputs if path.parent == settings.results)
        report = ScanReport(result, history=history, files=beside)
        outputs.append(write_report(settings.results, with_event(report, broker, fits.collected, fits.spool)))
    return outputs


def kept_frames(rounds: Sequence[bytes], *, keep_all: bool) -> list[Frame]:
    """Return the frames of a pixel's fits, best first, from the best fits of its rounds; only the best if not all."""
    if len(rounds) == 1:  # in this order already
        return list(read_frames(io.BytesIO(rounds[0])))
    fits = [
        SeedFit(decoded.fit.pixel, decoded.fit.seed, decoded.fit.llh, frame)
        for payload in rounds
        for decoded, frame in zip(decode_fits(payload), read_frames(io.BytesIO(payload)), strict=True)
    ]
    ordered = [fit.source for fit in best_first(fits)]
    return ordered if keep_all else ordered[:1]


def _make_folders(settings: SaverSettings) -> None:
    for folder in (settings.output.parent, settings.results):
        try:
            make_folder(folder)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error


def _make_folders_unless_full(settings: SaverSettings) -> None:
    """Make the folders; the progress reports a full disk, once the scan has begun."""
    try:
        _make_folders(settings)
    except InputError as error:
        if not is_disk_full(error):
            raise
