"""Reports of worker crashes, counted by task, so that a task that crashes every worker is given up.

How often a broker has delivered a task says nothing of crashes: a machine that loses its power, or a `run` that is
killed, has every task in flight delivered again. So the next worker on the same machine publishes a crash report
(`in_flight` finds the crash), and every worker reads the reports.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skymap_scanner.broker.protocol import Broker, Closing, Outgoing, arrived
from skymap_scanner.roles.topics import METADATA_PROPERTY, PARAMETERS_PROPERTY, RECONSTRUCTION_PROPERTY

#: Seconds between two polls for crashes.
POLL_INTERVAL = 1.0

#: Tasks whose crashes are remembered; then the first one is forgotten, and counted anew. A reconstruction with so many
#: tasks that crash their workers fails them one after the other.
MAX_TASKS = 10_000


class CrashReport(BaseModel):
    """A worker that ended while a task was in flight: killed, crashed, or hung for more than ``limit`` seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    task: str = Field(max_length=64)
    """Identity of the task, unique across scans: a digest of its frame, event and reconstruction."""
    name: str = Field(max_length=200)
    """Name of the task for log lines."""
    attempt: str = Field(max_length=64)
    """Identity of the attempt, so that a crash that is reported twice counts once."""
    limit: float
    """Time limit of the attempt (s)."""
    hung_at: str = Field(default="", max_length=4096)
    """Python traceback of a worker that reached the time limit; empty if it ended earlier."""

    def encode(self) -> bytes:
        """Return the report as JSON."""
        return self.model_dump_json().encode()

    def __str__(self) -> str:
        if self.hung_at:
            return f"a worker exceeded {self.limit:g} s on {self.name} and was terminated here:\n{self.hung_at}"
        return f"a worker was killed or crashed while fitting {self.name}"


def decode_crash_report(payload: bytes) -> CrashReport | None:
    """Return the crash report in a message, or None if the message is not one."""
    try:
        return CrashReport.model_validate_json(payload)
    except ValidationError:
        return None


def task_identity(payload: bytes, properties: Mapping[str, str]) -> str:
    """Return a digest of the task's frame, event and reconstruction."""
    digest = hashlib.blake2b(payload, digest_size=12)
    for name in (METADATA_PROPERTY, RECONSTRUCTION_PROPERTY, PARAMETERS_PROPERTY):
        digest.update(b"\0" + properties.get(name, "").encode())
    return digest.hexdigest()


def reason_to_give_up(crashes: Sequence[float | None]) -> str:
    """Return why a task is given up after these crashes (`CrashWatch.of`), at least one."""
    hung = [limit for limit in crashes if limit is not None]
    known = []
    if len(crashes) > len(hung):
        known.append(f"{len(crashes) - len(hung)} ended their worker (killed or crashed)")
    if hung:
        known.append(f"{len(hung)} took longer than {hung[-1]:g} s")
    return f"given up after {len(crashes)} attempts: {', '.join(known)}"


class CrashWatch(Closing):
    """Publishes the crashes found on this machine and reads those that any machine has published.

    ``find_crashes`` calls its argument with every crash found on this machine (`in_flight.InFlightFile`). ``most``:
    crashes of a task that are remembered; whatever others write, of `MAX_TASKS` tasks at most.
    """

    def __init__(
        self, broker: Broker, topic: str, find_crashes: Callable[[Callable[[CrashReport], None]], None], most: int
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._find_crashes = find_crashes
        self._reader = broker.reader(topic)
        self._next_poll = 0.0
        self._most = most
        self._crashes: dict[str, dict[str, float | None]] = {}  # by task and attempt, so that duplicates count once

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def poll(self) -> None:
        """Publish and read new reports, at most once per `POLL_INTERVAL`."""
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + POLL_INTERVAL
        self._find_crashes(self._publish)
        for message in arrived(self._reader, timeout=0):
            if (report := decode_crash_report(message.payload)) is not None:
                self._remember(report)

    def of(self, task: str) -> Sequence[float | None]:
        """Return the crashes of workers while this task was in flight.

        Each is the time limit (s) that the worker exceeded, or None if it ended earlier.
        """
        return tuple(self._crashes.get(task, {}).values())

    def _remember(self, report: CrashReport) -> None:
        of_task = self._crashes.setdefault(report.task, {})
        if len(of_task) < self._most:
            of_task[report.attempt] = report.limit if report.hung_at else None
        if len(self._crashes) > MAX_TASKS:
            del self._crashes[next(iter(self._crashes))]

    def _publish(self, report: CrashReport) -> None:
        with self._broker.producer(self._topic, f"worker-{uuid.uuid4()}") as producer:
            producer.send(Outgoing(report.encode(), key=report.name))
