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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymap_scanner.broker.protocol import Broker, Message, Outgoing, Producer
from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.i3 import FrameWriter, read_frames
from skymap_scanner.results import FORMATS, check_formats, write_results
from skymap_scanner.roles.expected import Expected
from skymap_scanner.roles.frames import Best
from skymap_scanner.roles.planreader import PlanReader
from skymap_scanner.roles.refusals import Refusals
from skymap_scanner.roles.skymap import best_fit, level_progress, scan_result
from skymap_scanner.roles.spool import Spool
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import ScanTopics, read_metadata
from skymap_scanner.scan.levels import parse_area
from skymap_scanner.scan.pixels import Pixel, read_ranges
from skymap_scanner.scan.plan import Plan, ScanEntry
from skymap_scanner.scan.progress import Phase, Progress, Rate

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


def save(broker: Broker, topics: ScanTopics, settings: SaverSettings, stop: Stop) -> bool:
    """Wait for all pixels and write the files: True when that is done, False when asked to stop before.

    Raises
    ------
    InputError
        If the scan is not the expected one, or a file cannot be written.
    BrokerError
        If the broker refuses; BrokerUnavailable if it cannot be reached.
    """
    check_formats(settings.formats)
    for folder in (settings.output.parent, settings.results):
        _make_folder(folder)
    with (
        PlanReader(broker, topics.plan) as plan,
        broker.reader(topics.collected) as collected,
        broker.producer(topics.progress, f"saver-{uuid.uuid4()}") as progress,
        Spool(settings.output.parent) as spool,
    ):
        scan = plan.wait_for_scan(stop)
        if scan is None:
            return False
        check_expected(scan, settings)
        gathered = _Gathered(scan, Expected(scan), spool, Refusals(topics.collected))
        reporter = _Reporter(progress, settings.results, gathered)
        while not stop.requested:
            message = collected.receive(timeout=0.1)
            if message is not None:
                gathered.add(message)
            elif plan.complete(gathered.bests):
                break
            reporter.report(plan.update())
        if stop.requested:
            return False
        reporter.send(plan.plan, Phase.WRITING)
        outputs = _write(broker, settings, plan.plan, gathered)
        (settings.results / PARTIAL).unlink(missing_ok=True)
        reporter.send(plan.plan, Phase.DONE, outputs)
    if settings.delete_collected:
        broker.delete_topic(topics.collected)
    log.info("%d pixels written to %s", len(gathered.bests), outputs[0])
    return True


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

    scan: ScanEntry
    expected: Expected
    spool: Spool
    refusals: Refusals
    bests: dict[Pixel, Best] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """Take a pixel; a repeat changes nothing, and what is no pixel is passed over."""
        try:
            best = self.expected.best(message)
        except BrokerError as error:
            self.refusals.add(message, error)
            return
        if best.pixel not in self.bests:
            self.spool.write(best.pixel, message.payload)
            self.bests[best.pixel] = best


class _Reporter:
    """Sends snapshots and writes the partial result, each every few seconds."""

    def __init__(self, producer: Producer, folder: Path, gathered: _Gathered) -> None:
        self._producer = producer
        self._folder = folder
        self._gathered = gathered
        self._began = time.monotonic()
        self._rate = Rate()
        self._next_progress = 0.0
        self._next_partial = self._began + PARTIAL_EVERY
        self._partial_pixels = 0

    def report(self, plan: Plan) -> None:
        """Send a snapshot if it is time."""
        now = time.monotonic()
        if now >= self._next_progress:
            self.send(plan, Phase.SCANNING)
            cost = time.monotonic() - now
            self._next_progress = now + max(PROGRESS_EVERY, 20 * cost)  # a large map must not slow the saver down
        if now >= self._next_partial and len(self._gathered.bests) > self._partial_pixels:
            self._next_partial = now + PARTIAL_EVERY
            self._partial_pixels = len(self._gathered.bests)
            scan_result(plan, self._gathered.bests).write_json(self._folder / PARTIAL)

    def send(self, plan: Plan, phase: Phase, outputs: Sequence[Path] = ()) -> None:
        """Send a snapshot now."""
        bests = self._gathered.bests
        elapsed = time.monotonic() - self._began
        levels = level_progress(plan, bests)
        rate = self._rate.update(elapsed, sum(level.done for level in levels))
        left = sum(level.planned - level.done for level in levels)
        snapshot = Progress(
            name=self._gathered.scan.name,
            phase=phase,
            levels=tuple(levels),
            rate=rate,
            eta=left / rate if rate > 0 else None,
            elapsed=elapsed,
            best=best_fit(plan, bests),
            outputs=tuple(path.name for path in outputs),
        )
        self._producer.send(Outgoing(snapshot.model_dump_json().encode()))


def _write(broker: Broker, settings: SaverSettings, plan: Plan, gathered: _Gathered) -> list[Path]:
    """Write the .i3 file, then the results."""
    result = scan_result(plan, gathered.bests)
    output = settings.output.with_name(settings.output.name.replace("{stem}", result.stem))
    with FrameWriter(output) as writer:
        for topic in gathered.scan.event.metadata_topics:
            writer.write(read_metadata(broker, topic))
        for pixel in plan.planned():
            for frame in read_frames(io.BytesIO(gathered.spool.read(pixel))):
                writer.write(frame)
    return [output, *write_results(result, settings.results, settings.formats)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
