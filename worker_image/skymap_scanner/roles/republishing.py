"""Tasks whose fits were refused: sent again a few times, then given up, so that no scan waits for ever.

The task is made anew, as the producer made it. One that is given up gets a failed fit, which says why, as the answer
of a worker: on ``scanned``, from where it is collected like any other.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from skymap_api.names import ScanTopics
from skymap_scanner.broker.protocol import Broker, Outgoing, Producer
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.protocol import failed_fit
from skymap_scanner.roles.collected import CollectedReader
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.plan_reader import PlanReader
from skymap_scanner.roles.task_frames import Task, fit_frame, read_task
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import ScanEntry

log = logging.getLogger(__name__)

#: How often a task is sent again. A worker that is broken answers wrong every time; one that was hit by chance, once.
MAX_REPUBLISHES = 3


class Republisher:
    """Sends tasks again; whatever it needs for that is made when the first is to be sent."""

    def __init__(self, broker: Broker, topics: ScanTopics, scan: ScanEntry, plan: PlanReader) -> None:
        self._broker = broker
        self._topics = topics
        self._scan = scan
        self._plan = plan
        self._sent: Counter[tuple[Pixel, int]] = Counter()
        self._open = ExitStack()
        self._producers: dict[str, Producer] = {}
        self._finished: CollectedReader | None = None
        self._maker: TaskMaker | None = None
        self.repeated = 0
        self.given_up = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def send(self, pixel: Pixel, seeds: Collection[int], why: str, *, counted: bool = True) -> None:
        """Have these tasks of a pixel fitted again, or give them up; returns when that is stored.

        Not ``counted``: nobody knows whether they were answered wrongly, so that they are not given up.

        Raises
        ------
        BrokerError
            If the broker refuses, or the event's frames are there no more.
        """
        for task in self._tasks(pixel):
            if task.seed not in seeds:
                continue
            self._sent[pixel, task.seed] += counted
            if not counted or self._sent[pixel, task.seed] <= MAX_REPUBLISHES:
                log.warning("%s is sent again: %s", task.name, why)
                self._producer(self._topics.to_be_scanned).send(self._made.message(task))
                self.repeated += 1
            else:
                log.error("%s is given up after %d refused answers: %s", task.name, MAX_REPUBLISHES + 1, why)
                self._producer(self._topics.scanned).send(self._failure(task, why))
                self.given_up += 1

    def _failure(self, task: Task, why: str) -> Outgoing:
        message = self._made.message(task)
        reason = f"given up: {MAX_REPUBLISHES + 1} answers were refused, the last since {why}"
        fit = failed_fit(task.start, FitStatus.GeneralFailure, reason)
        payload = fit_frame(read_task(message.payload)[1], fit, self._scan.reconstruction)
        return Outgoing(payload, key=message.key, properties=message.properties)

    def _tasks(self, pixel: Pixel) -> list[Task]:
        if self._finished is None:
            reader = self._open.enter_context(self._broker.reader(self._topics.collected))
            self._finished = CollectedReader(reader, self._topics.collected, FitValidator(self._scan))
        place = self._made.place(pixel, self._plan.plan, self._finished.update(timeout=0))
        return [] if place is None else list(self._made.tasks(pixel, place))

    @property
    def _made(self) -> TaskMaker:
        if self._maker is None:
            frames = [read_metadata(self._broker, topic) for topic in self._scan.event.metadata_topics]
            self._maker = TaskMaker(self._scan, prepared_from_frames(frames))
        return self._maker

    def _producer(self, topic: str) -> Producer:
        if topic not in self._producers:
            producer = self._broker.producer(topic, f"collector-{uuid.uuid4()}")
            self._producers[topic] = self._open.enter_context(producer)
        return self._producers[topic]
