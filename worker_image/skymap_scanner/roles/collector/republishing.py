"""Republishes the tasks of rejected fits, and publishes failed fits for tasks that are given up.

A task is built again from the event and the plan, exactly as the producer built it. A failed fit states the reason; it
is published on ``scanned``, like the fit of a worker.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

from skymap_api.names import ScanTopics
from skymap_scanner.broker.protocol import Broker, Closing, Outgoing, Producer
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.protocol import failed_fit
from skymap_scanner.roles.collector.decisions import MAX_REPUBLISHES, Republication
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.readers import BestFitReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit, Task, decode_task, fit_frame
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.seeds import Round

log = logging.getLogger(__name__)

#: Republications between two looks whether a stop is requested: a second at most.
BATCH = 500


class Republisher(Closing):
    """Publishes tasks again.

    Producers, the event's frames and the best fits are opened when the first task needs them: the best fits of a large
    map take much memory, and most scans republish no task.
    """

    def __init__(self, broker: Broker, topics: ScanTopics, validator: FitValidator) -> None:
        self._broker = broker
        self._topics = topics
        self._validator = validator
        self._scan = validator.scan
        self._collected: BestFitReader | None = None
        self._open = ExitStack()
        self._producers: dict[str, Producer] = {}
        self._task_maker: TaskMaker | None = None
        self._republished = 0
        self._given_up = 0

    def close(self) -> None:
        """Close the producers and the reader of the best fits."""
        self._open.close()

    @property
    def summary(self) -> str:
        """What was republished, for the log."""
        return f"{self._republished} tasks republished, {self._given_up} given up"

    def publish(self, republications: Iterable[Republication], plan: Plan) -> None:
        """Publish these tasks and failed fits; return when they are stored.

        Raises BrokerError if the broker rejects a request, or the event's frames have been deleted.
        """
        again: list[Outgoing] = []
        given_up: list[Outgoing] = []
        for republication in republications:
            for task in self._tasks(republication.pixel, plan):
                if task.seed in republication.seeds:
                    log.warning("%s is republished: %s", task.name, republication.reason)
                    again.append(self._maker.message(task))
                elif task.seed in republication.given_up:
                    log.error(
                        "%s is given up after %d rejected fits: %s",
                        task.name,
                        MAX_REPUBLISHES + 1,
                        republication.reason,
                    )
                    given_up.append(self._failed_fit(task, republication.reason))
        for topic, messages in ((self._topics.to_be_scanned, again), (self._topics.scanned, given_up)):
            if messages:
                self._producer(topic).send(*messages)
        self._republished += len(again)
        self._given_up += len(given_up)

    def publish_all(self, republications: Iterator[Republication], plan: Plan, stop: Stop) -> bool:
        """Publish very many, in batches; False if a stop was requested before the last one. Raises as `publish`."""
        while batch := list(islice(republications, BATCH)):
            if stop.requested:
                return False
            self.publish(batch, plan)
        return True

    def _failed_fit(self, task: Task, reason: str) -> Outgoing:
        message = self._maker.message(task)
        reason = f"given up: {MAX_REPUBLISHES + 1} fits were rejected, the last because {reason}"
        fit = failed_fit(task.start, FitStatus.GeneralFailure, reason)
        payload = fit_frame(decode_task(message.payload)[1], fit, self._scan.reconstruction)
        return Outgoing(payload, key=message.key, properties=message.properties)

    def _tasks(self, pixel: Pixel, plan: Plan) -> list[Task]:
        rounds = [Round(pixel, number) for number in range(plan.rounds_of(pixel))]
        found = [self._maker.tasks_of(one, plan, self) for one in rounds]
        return [task for tasks in found for task in tasks or ()]

    def of_rounds(self, pixel: Pixel, rounds: int) -> PixelFit | None:
        """Return the best fit of the first ``rounds`` rounds of a pixel; None if they are not all done."""
        if self._collected is None:
            reader = BestFitReader(self._broker, self._topics.collected, self._validator)
            self._collected = self._open.enter_context(reader)
        self._collected.update()
        return self._collected.best_fits.of_rounds(pixel, rounds)

    @property
    def _maker(self) -> TaskMaker:
        if self._task_maker is None:
            frames = [read_metadata(self._broker, topic) for topic in self._scan.event.metadata_topics]
            self._task_maker = TaskMaker(self._scan, prepared_from_frames(frames))
        return self._task_maker

    def _producer(self, topic: str) -> Producer:
        if topic not in self._producers:
            producer = self._broker.producer(topic, f"collector-{uuid.uuid4()}")
            self._producers[topic] = self._open.enter_context(producer)
        return self._producers[topic]
