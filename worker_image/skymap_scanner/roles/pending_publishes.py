"""Fits being published: each task is acknowledged once its fit is stored, while the next task is fitted."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from skymap_scanner.broker.protocol import Consumer, Message, Outgoing, Producer


class PendingPublishes:
    """Publishes fits and acknowledges their tasks, in order; at most ``limit`` fits are pending at a time."""

    def __init__(self, tasks: Consumer, fits: Producer, limit: int) -> None:
        self._limit = limit
        self._tasks = tasks
        self._fits = fits
        self._pairs: deque[tuple[Message, Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._pairs)

    def publish(self, task: Message, fit: Outgoing) -> None:
        """Start to publish a fit; raises the error of an earlier one.

        Raises
        ------
        BrokerError
            If an earlier fit could not be stored.
        """
        self._pairs.append((task, self._fits.submit(fit)))
        self._acknowledge(wait_for=len(self._pairs) - self._limit)

    def flush(self) -> None:
        """Wait until all fits are stored and their tasks are acknowledged."""
        self._acknowledge(wait_for=len(self._pairs))

    def _acknowledge(self, wait_for: int) -> None:
        """Acknowledge the tasks whose fits are stored, and wait for the first ``wait_for`` fits."""
        stored: list[Message] = []
        try:
            while self._pairs and (len(stored) < wait_for or self._pairs[0][1].done()):
                task, future = self._pairs.popleft()
                future.result()
                stored.append(task)
        finally:
            if stored:
                self._tasks.ack(*stored)
