"""Fits on their way to the broker: each task is acknowledged when its fit is stored, while the next is fitted."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from skymap_scanner.broker.protocol import Consumer, Message, Outgoing, Producer


class PendingPublishes:
    """Stores fits and acknowledges their tasks, in order; at most ``most`` are on their way at once."""

    def __init__(self, tasks: Consumer, fits: Producer, most: int) -> None:
        self._most = most
        self._tasks = tasks
        self._fits = fits
        self._pairs: deque[tuple[Message, Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._pairs)

    def publish(self, task: Message, fit: Outgoing) -> None:
        """Begin to store a fit; raises what storing an earlier one has raised."""
        self._pairs.append((task, self._fits.submit(fit)))
        self._acknowledge(wait_for=len(self._pairs) - self._most)

    def flush(self) -> None:
        """Wait until all fits are stored and their tasks acknowledged."""
        self._acknowledge(wait_for=len(self._pairs))

    def _acknowledge(self, wait_for: int) -> None:
        """Acknowledge the tasks whose fits are stored; wait for the first ``wait_for`` of them."""
        stored: list[Message] = []
        try:
            while self._pairs and (len(stored) < wait_for or self._pairs[0][1].done()):
                task, future = self._pairs.popleft()
                future.result()
                stored.append(task)
        finally:
            if stored:
                self._tasks.ack(*stored)
