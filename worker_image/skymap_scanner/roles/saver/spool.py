"""The fits that a reader of ``collected`` has read, kept on disk, and what the report needs of them."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from skymap_scanner.broker.protocol import Broker, Closing
from skymap_scanner.errors import InputError
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.report import FitRecord, ScanReport
from skymap_scanner.roles.readers import BestFitReader, BestFits, CollectedFit
from skymap_scanner.roles.report_files import best_fit, fit_records
from skymap_scanner.roles.task_frames import FitStatement, decode_statement
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.roles.work import SeedWork, decode_round
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.seeds import Round


class Spool(Closing):
    """An anonymous temporary file in ``folder``, which the operating system removes at the end of the process.

    The first write makes it. Raises InputError if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: IO[bytes] | None = None
        self._places: defaultdict[int, dict[Pixel, tuple[int, int, int]]] = defaultdict(dict)  # by number of the round
        self._end = 0

    def close(self) -> None:
        """Remove the file."""
        if self._opened is not None:
            with suppress(OSError):  # its content is no longer needed
                self._opened.close()

    @property
    def _file(self) -> IO[bytes]:
        if self._opened is None:
            self._opened = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
        return self._opened

    @contextmanager
    def _as_input_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write in {self._folder}: {error.strerror}") from error

    @property
    def size(self) -> int:
        """Size of the file (bytes)."""
        return self._end

    def write(self, one: Round, found: CollectedFit) -> None:
        """Keep the frames of a round, and the work on it."""
        work = found.work.encode()
        with self._as_input_error():
            self._file.seek(self._end)
            self._file.write(found.frames + work)
        self._places[one.number][one.pixel] = (self._end, len(found.frames), len(work))
        self._end += len(found.frames) + len(work)

    def read(self, one: Round) -> bytes:
        """Return the frames of a round."""
        offset, size, _ = self._places[one.number][one.pixel]
        return self._read(offset, size)

    def work(self, one: Round) -> list[SeedWork]:
        """Return the work on the fits of a round, as far as it is stated."""
        offset, frames, size = self._places[one.number][one.pixel]
        return decode_round(self._read(offset + frames, size).decode())

    def _read(self, offset: int, size: int) -> bytes:
        with self._as_input_error():  # seeking writes the buffered data
            self._file.seek(offset)
        return self._file.read(size)

    def statement(self, one: Round) -> FitStatement:
        """Return what the best fit of a round states; nothing if its payload could not be kept."""
        return decode_statement(self.read(one)) if one.pixel in self._places[one.number] else FitStatement()


def fit_history(plan: Plan, best_fits: BestFits, spool: Spool) -> Iterator[FitRecord]:
    """Yield the records of all fits, by level, index and seed; the re-simulations come last."""
    for pixel in (*plan.planned(), *plan.resimulations):
        for one in (Round(pixel, number) for number in range(plan.rounds_of(pixel))):
            if best_fits.has(one):
                yield from fit_records(one, sorted(spool.work(one), key=lambda work: work.seed))


def with_event(report: ScanReport, broker: Broker, collected: BestFitReader, spool: Spool) -> ScanReport:
    """Add the event, and the losses of the best fit."""
    event = prepared_from_frames([read_metadata(broker, topic) for topic in collected.scan.event.metadata_topics])
    best = best_fit(report.result)
    losses = statement_of(spool, collected.best_fits, Pixel(best.nside, best.index)).losses if best else ()
    return replace(report, event=event, losses=losses)


def statement_of(spool: Spool, best_fits: BestFits, pixel: Pixel) -> FitStatement:
    """Return what the best fit of a pixel states."""
    return spool.statement(best_fits.round_of(best_fits[pixel]))
