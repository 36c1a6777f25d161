"""The producer: sends the event once, decides each level from the bests of the one before, and sends its tasks.

    event ─▶ metadata topics, plan, to_be_scanned           collected ─▶ bests ─▶ the next level

What it decides stands in the plan before the first task of it is sent, and a task's sequence id is its place in the
plan: started again, it reads the plan and the bests, sends what is missing, and goes on. A broker that does not drop
repeats gets the tasks of all pixels without a best once more, which changes nothing but the time it takes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from skymap_api.names import ScanTopics
from skymap_scanner.broker.protocol import Broker, Outgoing, Producer, Reader
from skymap_scanner.errors import BrokerError
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.preparation import PreparationSettings, prepare
from skymap_scanner.event.prepared_frames import event_frames
from skymap_scanner.roles.collected import CollectedReader
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.topics import create_topics, publish_metadata
from skymap_scanner.scan.levels import Area, Level, first_pixels
from skymap_scanner.scan.pixels import Pixel, read_ranges
from skymap_scanner.scan.plan import (
    EndEntry,
    EventFacts,
    Plan,
    PlanEntry,
    ScanEntry,
    ahead_entry,
    check_same_scan,
    decode_entry,
    level_entry,
)
from skymap_scanner.scan.refinement import look_ahead, refine

log = logging.getLogger(__name__)

#: The kind of an event that was simulated.
SIMULATION = "simulation"

#: Tasks stored in one go: few enough to start the workers at once, enough to make the broker's work small.
BATCH = 500


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the user chose for a scan. ``predictive`` starts a level early and does not change the map."""

    name: str
    levels: Sequence[Level]
    seeds: int = 7
    area: Area | None = None
    pixels: str | None = None
    pulse_series: str | None = None
    reconstruction: str = "millipede"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    keep_all_seeds: bool = False
    predictive: float = 1.0


def produce(broker: Broker, topics: ScanTopics, event: Event, settings: ScanSettings, stop: Stop) -> bool:
    """Produce the whole scan: True when the last task is sent, False when asked to stop before.

    Raises
    ------
    InputError
        If the event cannot be scanned, or another scan has this name.
    BrokerError
        If the broker refuses.
    """
    prepared = prepare(event, PreparationSettings(pulse_series=settings.pulse_series))
    create_topics(broker, topics)
    metadata = publish_metadata(broker, topics, event_frames(event, prepared))
    wanted = scan_entry(settings, prepared, metadata)
    with (
        broker.producer(topics.plan, "producer") as plan_out,
        broker.producer(topics.to_be_scanned, "producer") as tasks_out,
        broker.reader(topics.plan) as plan_in,
        broker.reader(topics.collected) as collected,
    ):
        writer = _PlanWriter(plan_out, plan_in)
        check_same_scan(writer.begin(wanted), wanted)
        tasks = _TaskWriter(tasks_out, wanted, prepared)
        finished = CollectedReader(collected, topics.collected, FitValidator(wanted))
        best_fits = finished.update(timeout=0)
        while not stop.requested:
            tasks.send_planned(writer.plan, best_fits, stop)
            if writer.plan.ended and tasks.sent_all(writer.plan):
                log.info("all %d tasks are sent", tasks.sent * wanted.seeds)
                return True
            if writer.advance(
                decide(writer.plan, {pixel: best.llh for pixel, best in best_fits.items()}, settings.predictive)
            ):
                continue
            finished.update(timeout=0.5)
    return False


def scan_entry(settings: ScanSettings, prepared: PreparedEvent, metadata: tuple[str, ...]) -> ScanEntry:
    """Make the first entry of the plan."""
    kind = event_kind(prepared.name)
    return ScanEntry(
        name=settings.name,
        event=EventFacts(
            name=prepared.name,
            run=prepared.header.run_id,
            event=prepared.header.event_id,
            mjd=prepared.mjd,
            kind=kind,
            real=kind != SIMULATION,
            metadata_topics=metadata,
        ),
        levels=" ".join(map(str, settings.levels)),
        seeds=settings.seeds,
        area=None if settings.area is None else str(settings.area),
        pixels=settings.pixels,
        reconstruction=settings.reconstruction,
        parameters=settings.parameters,
        keep_all_seeds=settings.keep_all_seeds,
    )


def event_kind(name: str) -> str:
    """Return what the event was sent for: the part of its name behind run and event, ``unknown`` without one."""
    return name.split(".", 2)[2] if name.count(".") >= 2 else "unknown"


def decide(plan: Plan, llh: Mapping[Pixel, float], predictive: float) -> PlanEntry | None:
    """Return what the plan says next, from what it has said and the bests so far; None: wait for more of them."""
    if plan.scan is None or plan.ended:
        return None
    levels = plan.scan.parsed_levels()
    if not plan.levels:
        listed = None if plan.scan.pixels is None else read_ranges(plan.scan.pixels)
        pixels = first_pixels(levels[0], plan.scan.parsed_area(), listed)
        return level_entry(levels[0].nside, pixels, plan.started)
    if len(plan.levels) == len(levels):
        return EndEntry()
    before, level = levels[len(plan.levels) - 1], levels[len(plan.levels)]
    planned = plan.levels[before.nside]
    done = {pixel: llh[pixel] for pixel in planned if pixel in llh}
    if len(done) == len(planned):
        chosen = refine(done, level)
        return level_entry(level.nside, chosen, plan.started) if chosen else EndEntry()  # none: every fit failed
    guessed = set(look_ahead(done, len(planned), level, predictive)).difference(plan.started)
    return ahead_entry(level.nside, sorted(guessed)) if guessed else None


class _PlanWriter:
    """Writes entries and takes as the plan only what it reads back: should two producers run, both follow one plan."""

    def __init__(self, producer: Producer, reader: Reader) -> None:
        self._producer = producer
        self._reader = reader
        self._entries = 0
        self.plan = Plan()

    def begin(self, wanted: ScanEntry) -> ScanEntry:
        """Read all that the plan holds so far, write its first entry if there is none; return the first entry."""
        self._read(timeout=0)
        if self.plan.scan is None:
            self.advance(wanted)
        if self.plan.scan is None:
            raise BrokerError("the plan cannot be read back after it was written")
        return self.plan.scan

    def advance(self, entry: PlanEntry | None) -> bool:
        """Add an entry; tell whether anything was written, by whoever."""
        if entry is None:
            return False
        self._producer.send(Outgoing(entry.encode(), sequence_id=self._entries))
        return self._read(timeout=30.0)

    def _read(self, timeout: float) -> bool:
        """Read to the end: deciding from less than is there would write it again."""
        message = self._reader.receive(timeout)
        news = message is not None
        while message is not None:
            self.plan.add(decode_entry(message.payload))
            self._entries += 1
            message = self._reader.receive(timeout=0)
        return news


class _TaskWriter:
    """Sends the tasks of the plan in its order, each once, as far as the broker remembers what was sent."""

    def __init__(self, producer: Producer, scan: ScanEntry, prepared: PreparedEvent) -> None:
        self._producer = producer
        self._scan = scan
        self._maker = TaskMaker(scan, prepared)
        self._last = producer.last_sequence_id
        self.sent = 0  # pixels of the plan whose tasks are stored

    def sent_all(self, plan: Plan) -> bool:
        """Tell whether nothing of the plan so far is left to send."""
        return self.sent == len(plan.started)

    def send_planned(self, plan: Plan, best_fits: Mapping[Pixel, PixelFit], stop: Stop) -> None:
        """Send what the plan holds and the bests allow: a finer pixel needs the best of its parent."""
        outgoing = self._outgoing(plan, best_fits)
        while not stop.requested and (batch := list(islice(outgoing, BATCH))):
            self._producer.send(*batch)

    def _outgoing(self, plan: Plan, best_fits: Mapping[Pixel, PixelFit]) -> Iterator[Outgoing]:
        while self.sent < len(plan.started):
            pixel = plan.started[self.sent]
            first = self.sent * self._scan.seeds
            if pixel not in best_fits and first + self._scan.seeds > self._last + 1:
                place = self._maker.place(pixel, plan, best_fits)
                if place is None:
                    return
                for task in self._maker.tasks(pixel, place):
                    number = first + task.seed
                    if number > self._last:
                        yield self._maker.message(task, number)
            self.sent += 1
