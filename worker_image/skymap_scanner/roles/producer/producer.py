"""The producer: publishes the event, plans each level from the best fits of the one before, and sends its tasks.

    event ─▶ metadata topics, plan, to_be_scanned           collected ─▶ best fits ─▶ the next level

An entry of the plan is stored before the first of its tasks, and the sequence id of a task is its position in the plan.
A producer that restarts reads the plan and the best fits, sends what is missing, and continues. On a broker without
deduplication the tasks of all pixels without a best fit are sent again, which costs time and changes nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from skymap_api.names import ScanTopics
from skymap_scanner.broker.protocol import Broker, Outgoing, Producer
from skymap_scanner.errors import BrokerError
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.prepared_frames import event_frames
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.locate import check_can_locate
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.producer.planning import ScanSettings, next_entry, scan_entry
from skymap_scanner.roles.readers import BestFitReader, BestFits, PlanReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.topics import ensure_topics, publish_metadata
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import PlanEntry, ScanEntry, check_same_scan

log = logging.getLogger(__name__)

#: Tasks stored at once: few enough to start the workers early, many enough to keep the broker's work small.
BATCH = 500


def produce(broker: Broker, topics: ScanTopics, event: Event, settings: ScanSettings, stop: Stop) -> bool:
    """Produce the whole scan: True when the last task is sent, False if a stop was requested first.

    Raises InputError if the event cannot be scanned, or another scan has this name; ReconstructionError if there is no
    such reconstruction, or the scan calibrates its contours and it cannot fit a direction; BrokerError if the broker
    rejects a request.
    """
    prepared = prepare(event, settings.pulse_series)
    if settings.calibrate:
        check_can_locate(settings.reconstruction, settings.parameters, prepared)
    ensure_topics(broker, topics)
    metadata = publish_metadata(broker, topics, event_frames(event, prepared))
    software = software_of(load(settings.reconstruction, settings.parameters))
    scan = scan_entry(settings, prepared, metadata, software)
    with (
        broker.producer(topics.plan, "producer") as plan_out,
        broker.producer(topics.to_be_scanned, "producer") as tasks_out,
        PlanReader(broker, topics.plan) as plan_in,
        BestFitReader(broker, topics.collected, FitValidator(scan)) as collected,
    ):
        writer = _PlanWriter(plan_out, plan_in)
        check_same_scan(writer.begin(scan), scan)
        tasks = _TaskWriter(tasks_out, scan, prepared)
        best_fits = collected.best_fits
        collected.update()
        while not stop.requested:
            tasks.send_planned(writer.plan, best_fits, stop)
            if writer.plan.ended and tasks.sent == len(writer.plan.started):
                log.info("all %d tasks are sent", tasks.number)
                return True
            llh = complete_llh(writer.plan, best_fits)
            if not writer.add(next_entry(writer.plan, llh, settings.predictive)):
                collected.update(timeout=0.5)
    return False


def complete_llh(plan: Plan, best_fits: BestFits) -> dict[Pixel, float]:
    """Return -ln L of the pixels whose started rounds are all done.

    They are those of the two newest levels, of all levels where the scan calibrates its contours.
    """
    pixels: Iterable[Pixel] = chain.from_iterable(plan.levels[nside] for nside in sorted(plan.levels)[-2:])
    if plan.scan is not None and plan.scan.calibrate:
        pixels = plan.planned()
    found = ((pixel, best_fits.of_rounds(pixel, plan.rounds_of(pixel))) for pixel in pixels)
    return {pixel: best_fit.llh for pixel, best_fit in found if best_fit is not None}


class _PlanWriter:
    """Writes the plan and follows only what it reads back, so that two producers at once follow the same plan."""

    def __init__(self, producer: Producer, reader: PlanReader) -> None:
        self._producer = producer
        self._reader = reader
        self.plan = reader.plan

    def begin(self, scan: ScanEntry) -> ScanEntry:
        """Read the plan so far, write its first entry if it is empty, and return the first entry."""
        if self._reader.update().scan is None:
            self.add(scan)
        if self.plan.scan is None:
            raise BrokerError("the plan cannot be read back after it was written")
        return self.plan.scan

    def add(self, entry: PlanEntry | None) -> bool:
        """Add an entry; return whether the plan has grown, by this producer or another."""
        if entry is None:
            return False
        entries = self._reader.entries
        self._producer.send(Outgoing(entry.encode(), sequence_id=entries))
        self._reader.update(timeout=30.0)
        return self._reader.entries > entries


class _TaskWriter:
    """Sends the tasks of the plan in order; each is sent once if the broker deduplicates."""

    def __init__(self, producer: Producer, scan: ScanEntry, prepared: PreparedEvent) -> None:
        self._producer = producer
        self._seeding = scan.seeding
        self._maker = TaskMaker(scan, prepared)
        self._last = producer.last_sequence_id
        self.sent = 0  # number of rounds of the plan whose tasks are stored
        self.number = 0  # number of their tasks, and of the first task that follows

    def send_planned(self, plan: Plan, best_fits: BestFits, stop: Stop) -> None:
        """Send the planned tasks, up to the first that starts from a fit that is not done yet."""
        outgoing = self._outgoing(plan, best_fits)
        while not stop.requested and (batch := list(islice(outgoing, BATCH))):
            self._producer.send(*batch)

    def _outgoing(self, plan: Plan, best_fits: BestFits) -> Iterator[Outgoing]:
        """Yield the tasks not stored yet; skip rounds that are done or whose sequence ids the broker has."""
        while self.sent < len(plan.started):
            one = plan.round_at(self.sent)
            seeds = self._seeding.seeds_of(one)
            if not best_fits.has(one) and self.number + len(seeds) > self._last + 1:
                tasks = self._maker.tasks_of(one, plan, best_fits)
                if tasks is None:
                    return
                for number, task in enumerate(tasks, start=self.number):
                    if number > self._last:
                        yield self._maker.message(task, number)
            self.sent += 1
            self.number += len(seeds)
