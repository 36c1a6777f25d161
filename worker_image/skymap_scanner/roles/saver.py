"""The saver: gathers the best of every pixel, tells how far the scan is, and at the end writes the files.

    plan, collected ─▶ progress, partial result ─▶ .i3 file and results

It reads ``collected`` from its start and acknowledges nothing: started again, at whatever point it ended, it gathers
everything again and writes the same files.
"""

from __future__ import annotations

import io
import logging
import time
import uuid
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from skymap_api.names import ScanTopics
from skymap_api.progress import MAX_OBSTACLE, Progress, ProgressPhase, encode_progress
from skymap_api.resource.base import INT32
from skymap_scanner.broker.protocol import Broker, Message, Outgoing, Producer
from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.i3 import FrameWriter, read_frames
from skymap_scanner.results import FORMATS, check_formats, write_results
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.full_disk import is_disk_full
from skymap_scanner.roles.plan_reader import PlanReader
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.roles.spool import Spool
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.summary import best_fit, level_progress, scan_result
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.scan.levels import parse_area
from skymap_scanner.scan.pixels import Pixel, read_ranges
from skymap_scanner.scan.plan import Plan, ScanEntry
from skymap_scanner.scan.progress import Rate

log = logging.getLogger(__name__)

#: Seconds between two snapshots of the progress, and between two partial results.
PROGRESS_EVERY, PARTIAL_EVERY = 1.0, 10.0

#: The partial result, beside the results to come.
PARTIAL = "partial.json"


@dataclass(frozen=True, slots=True)
class SaverSettings:
    """Where the .i3 file and the results go, in which formats, and what the scan must be.

    ``{stem}`` in the output's name stands for run, event and levels, as in the names of the results.
    ``nside``, ``area``, ``pixels``: what the user believes the scan to be; another scan is refused, not waited for.
    """

    output: Path
    results: Path
    formats: Sequence[str] = FORMATS
    nside: int | None = None
    area: str | None = None
    pixels: str | None = None
    delete_collected: bool = False


@dataclass
class SaveAttempts:
    """What the last try to save has failed with, and at how many pixels: told until a later one comes further."""

    obstacle: str = ""
    pixels: int = 0

    def stuck(self, best_fits: Sized) -> bool:
        """Tell whether a try with these pixels has come no further than the last."""
        return bool(self.obstacle) and len(best_fits) <= self.pixels


def save(
    broker: Broker, topics: ScanTopics, settings: SaverSettings, stop: Stop, tries: SaveAttempts | None = None
) -> bool:
    """Wait for all pixels and write the files: True when that is done, False when asked to stop before.

    ``tries``: whoever tries again after an error gives the same each time, so that the progress tells of it.

    Raises
    ------
    InputError
        If the scan is not the expected one, or a file cannot be written.
    BrokerError
        If the broker refuses; BrokerUnavailable if it cannot be reached.
    """
    check_formats(settings.formats)
    try:
        _make_folders(settings)
    except InputError as error:
        if not is_disk_full(error):  # of a full disk the progress tells, once there is a scan
            raise
    with (
        PlanReader(broker, topics.plan) as plan,
        broker.producer(topics.progress, f"saver-{uuid.uuid4()}") as progress,
    ):
        scan = plan.wait_for_scan(stop)
        if scan is None:
            return False
        check_expected(scan, settings)
        reporter = _Reporter(progress, FitValidator(scan), settings.results, tries or SaveAttempts())
        try:
            outputs = _save(broker, topics, settings, stop, plan, reporter)
        except (OSError, InputError) as error:
            if is_disk_full(error):
                reporter.fail(plan.plan, str(error))
            raise
        if outputs is None:
            return False
        reporter.send(plan.plan, ProgressPhase.DONE, outputs)
    if settings.delete_collected:
        broker.delete_topic(topics.collected)
    log.info("%d pixels written to %s", len(reporter.best_fits), outputs[0])
    return True


def _save(
    broker: Broker, topics: ScanTopics, settings: SaverSettings, stop: Stop, plan: PlanReader, reporter: _Reporter
) -> list[Path] | None:
    """Gather and write; None when asked to stop before all pixels were there."""
    _make_folders(settings)
    with broker.reader(topics.collected) as collected, Spool(settings.output.parent) as spool:
        gathered = _Gathered(reporter.expected, spool, RejectedMessages(topics.collected), reporter.best_fits)
        while not stop.requested:
            message = collected.receive(timeout=0.1)
            if message is not None:
                gathered.add(message)
            elif plan.complete(gathered.best_fits):
                break
            reporter.report(plan.update())
        if stop.requested:
            return None
        reporter.send(plan.plan, ProgressPhase.WRITING)
        outputs = _write(broker, settings, plan.plan, gathered)
    (settings.results / PARTIAL).unlink(missing_ok=True)
    return outputs


def check_expected(scan: ScanEntry, settings: SaverSettings) -> None:
    """Check that the scan is the one that the saver was told of.

    Raises
    ------
    InputError
        If it is another one: waiting for pixels that never come would help nobody.
    """
    if settings.nside is not None and scan.levels != f"{settings.nside}:0":
        raise InputError(f"scan {scan.name} has the levels {scan.levels}, not nside {settings.nside} alone")
    if settings.area is not None and (scan.area is None or parse_area(settings.area) != scan.parsed_area()):
        raise InputError(f"scan {scan.name} has the area {scan.area or 'whole sky'}, not {settings.area}")
    if settings.pixels is not None and (
        scan.pixels is None or set(read_ranges(settings.pixels)) != set(read_ranges(scan.pixels))
    ):
        raise InputError(f"scan {scan.name} has the pixels {scan.pixels or 'whole sky'}, not {settings.pixels}")


@dataclass
class _Gathered:
    """The bests so far: figures in memory, frames in the spool."""

    expected: FitValidator
    spool: Spool
    rejected: RejectedMessages
    best_fits: dict[Pixel, PixelFit]

    def add(self, message: Message) -> None:
        """Take a pixel; a repeat changes nothing, and what is no pixel is passed over."""
        try:
            best = self.expected.best(message)
        except BrokerError as error:
            self.rejected.add(message, error)
            return
        if best.pixel not in self.best_fits:
            self.spool.write(best.pixel, message.payload)
            self.best_fits[best.pixel] = best


class _Reporter:
    """Sends snapshots and writes the partial result, each every few seconds."""

    def __init__(self, producer: Producer, expected: FitValidator, folder: Path, tries: SaveAttempts) -> None:
        self.expected = expected
        self.best_fits: dict[Pixel, PixelFit] = {}
        self._producer = producer
        self._folder = folder
        self._tries = tries
        self._phase = ProgressPhase.SCANNING
        self._began = time.monotonic()
        self._rate = Rate()
        self._next_progress = 0.0
        self._next_partial = self._began + PARTIAL_EVERY
        self._partial_pixels = 0

    def report(self, plan: Plan) -> None:
        """Send a snapshot if it is time, and if this try has come further than the last."""
        if self._tries.stuck(self.best_fits):
            return
        now = time.monotonic()
        if now >= self._next_progress:
            self.send(plan, ProgressPhase.SCANNING)
            cost = time.monotonic() - now
            self._next_progress = now + max(PROGRESS_EVERY, 20 * cost)  # a large map must not slow the saver down
        if now >= self._next_partial and len(self.best_fits) > self._partial_pixels:
            self._next_partial = now + PARTIAL_EVERY
            self._partial_pixels = len(self.best_fits)
            scan_result(plan, self.best_fits).write_json(self._folder / PARTIAL)

    def fail(self, plan: Plan, why: str) -> None:
        """Tell what this try has failed with."""
        self._tries.obstacle, self._tries.pixels = why, len(self.best_fits)
        self.send(plan, self._phase)

    def send(self, plan: Plan, phase: ProgressPhase, outputs: Sequence[Path] = ()) -> None:
        """Send a snapshot now."""
        self._phase = phase
        if phase is ProgressPhase.DONE or not self._tries.stuck(self.best_fits):
            self._tries.obstacle = ""
        best_fits = self.best_fits
        elapsed = time.monotonic() - self._began
        levels = level_progress(plan, best_fits)
        rate = self._rate.update(elapsed, sum(level.done for level in levels))
        left = sum(level.planned - level.done for level in levels)
        snapshot = Progress(
            name=self.expected.scan.name,
            phase=phase,
            levels=tuple(levels),
            rate=rate,
            eta=left / rate if rate > 0 and left / rate <= INT32 else None,
            elapsed=elapsed,
            best=best_fit(plan, best_fits),
            outputs=tuple(path.name for path in outputs),
            obstacle=self._tries.obstacle[:MAX_OBSTACLE] or None,
        )
        self._producer.send(Outgoing(encode_progress(snapshot)))


def _write(broker: Broker, settings: SaverSettings, plan: Plan, gathered: _Gathered) -> list[Path]:
    """Write the .i3 file, then the results."""
    result = scan_result(plan, gathered.best_fits)
    output = settings.output.with_name(settings.output.name.replace("{stem}", result.stem))
    with FrameWriter(output) as writer:
        for topic in gathered.expected.scan.event.metadata_topics:
            writer.write(read_metadata(broker, topic))
        for pixel in plan.planned():
            for frame in read_frames(io.BytesIO(gathered.spool.read(pixel))):
                writer.write(frame)
    return [output, *write_results(result, settings.results, settings.formats)]


def _make_folders(settings: SaverSettings) -> None:
    for folder in (settings.output.parent, settings.results):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
