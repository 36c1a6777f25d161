"""The report of a scan and its history, written beside the results, and made again from what lies there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from skymap_api.limited_file import read_limited
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import BrokerError, I3Error, InputError, TooLittleMemoryError
from skymap_scanner.event.prepared_frames import PHYSICS_STOP, prepared_from_frames
from skymap_scanner.i3 import Frame, I3Int, read_frames
from skymap_scanner.reconstruction.protocol import Loss
from skymap_scanner.report import FitRecord, ScanReport, history_from_csv, history_to_csv
from skymap_scanner.report.history import MAX_ROWS
from skymap_scanner.report.history import SUFFIX as HISTORY_SUFFIX
from skymap_scanner.report.scan_report import SUFFIX as REPORT_SUFFIX
from skymap_scanner.results import WILKS, ScanResult
from skymap_scanner.results.skymap import BestFit, multi_order_map
from skymap_scanner.roles.task_frames import NSIDE, PIXEL, decode_statement
from skymap_scanner.roles.work import SeedWork
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.seeds import Round

#: Largest history that is read (bytes): a row has about 100.
MAX_HISTORY = 100 * MAX_ROWS


def fit_records(one: Round, works: Iterable[SeedWork]) -> Iterator[FitRecord]:
    """Yield the records of the fits of a round."""
    for work in works:
        yield FitRecord(
            nside=one.pixel.nside,
            pixel=one.pixel.index,
            round=one.number,
            seed=work.seed,
            llh=math.nan if work.llh is None else work.llh,
            worker=work.worker,
            began=round(work.began, 3),  # as in the file, so that a report made from it is the same
            ended=round(work.ended, 3),
            attempt=work.attempt,
            failure=work.failure,
        )


def write_history(folder: Path, result: ScanResult, records: Iterable[FitRecord]) -> Path:
    """Write the history of a scan; raises InputError if the folder cannot be written."""
    return write_atomically(folder / f"{result.stem}{HISTORY_SUFFIX}", history_to_csv(records))


def write_report(folder: Path, report: ScanReport) -> Path:
    """Write the report of a scan; raises InputError if the folder cannot be written, or there is too little memory."""
    from skymap_scanner.report.page import report_html  # noqa: PLC0415 - slow, and needed only at the end of a scan

    path = folder / f"{report.result.stem}{REPORT_SUFFIX}"
    try:
        return write_atomically(path, report_html(report))
    except MemoryError as error:
        raise TooLittleMemoryError(f"{path.name}: there is not enough memory to make it") from error


def report_of_files(result_file: Path, i3_file: Path | None = None) -> ScanReport:
    """Return what the files of a scan hold: the JSON or npz file, and its .i3 file and history beside it.

    ``i3_file``: where the .i3 file has another name than the result. Raises InputError if a file cannot be read.
    """
    result = ScanResult.read(result_file)
    folder = result_file.parent
    i3_file = i3_file or next(iter(sorted(folder.glob(f"{result.stem}.i3*"))), None)
    history = _read_history(folder / f"{result.stem}{HISTORY_SUFFIX}")
    files = tuple(sorted(path.name for path in folder.glob(f"{result.stem}.*") if path.suffix != ".html"))
    if i3_file is None:
        return ScanReport(result, history=history, files=files)
    try:
        frames = read_frames(i3_file)
        head = _head(frames)
        losses = _losses(frames, best_fit(result)) if head else ()
        event = prepared_from_frames(head) if head else None
    except (I3Error, OSError) as error:
        raise InputError(f"{i3_file}: {error}") from error
    return ScanReport(result, event, losses, history, files)


def best_fit(result: ScanResult) -> BestFit | None:
    """Return the best fit of a result; None if no pixel has one."""
    if sum(map(len, result.failed.values())) == result.scanned:
        return None
    return multi_order_map(result, result.metadata.rule or WILKS).best


def _read_history(path: Path) -> Sequence[FitRecord]:
    try:
        with path.open("rb") as file:
            return history_from_csv(read_limited(file, MAX_HISTORY))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _head(frames: Iterator[Frame]) -> list[Frame]:
    """Return the frames of the event, with which an .i3 file of a scan begins; none if it does not."""
    head = []
    for frame in frames:
        head.append(frame)
        if frame.stop == PHYSICS_STOP:
            return head
        if frame.stop == "P":
            break
    return []


def _losses(frames: Iterator[Frame], best: BestFit | None) -> Sequence[Loss]:
    """Return the losses of the best fit, from the first frame of its pixel."""
    for frame in frames:
        try:
            pixel = Pixel(frame.expect(NSIDE, I3Int).value, frame.expect(PIXEL, I3Int).value)
        except (I3Error, BrokerError):
            continue
        if best is not None and pixel == Pixel(best.nside, best.index):
            return decode_statement(frame.to_bytes()).losses
    return ()
