"""Deaths of workers: counted by task, so that a task that ends every worker is given up.

Apache Pulsar forgets how often a message was delivered when the consumer that held it dies. So the next worker of the
machine reports the death (`inhand`), as a small JSON message on ``<scan>-deaths`` that every worker reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from skymap_scanner.roles.topics import METADATA_PROPERTY, PARAMETERS_PROPERTY, RECONSTRUCTION_PROPERTY


class Death(BaseModel):
    """A worker that ended with a task in hand: killed, crashed, or after more than ``limit`` seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: The task's identity: equal for equal tasks only, of whatever scan.
    task: str
    #: The task as people call it.
    name: str
    #: This one attempt, so that a death that was reported twice counts once.
    attempt: str
    #: Seconds that the attempt was given.
    limit: float
    #: Where the worker was when its time was up: Python's traceback. Empty: it ended earlier.
    hung_at: str = ""

    def encode(self) -> bytes:
        """Return the death as JSON."""
        return self.model_dump_json().encode()

    def told(self) -> str:
        """Say what happened."""
        if self.hung_at:
            return f"a worker took longer than {self.limit:g} s over {self.name} and was ended, here:\n{self.hung_at}"
        return f"a worker ended with {self.name} in hand: it was killed, or crashed"


def decode_death(payload: bytes) -> Death | None:
    """Read a death; None if the message is something else."""
    try:
        return Death.model_validate_json(payload)
    except ValidationError:
        return None


def task_identity(payload: bytes, properties: Mapping[str, str]) -> str:
    """Return what tells one task from all others: its frame, event and reconstruction."""
    digest = hashlib.blake2b(payload, digest_size=12)
    for name in (METADATA_PROPERTY, RECONSTRUCTION_PROPERTY, PARAMETERS_PROPERTY):
        digest.update(b"\0" + properties.get(name, "").encode())
    return digest.hexdigest()


class Deaths:
    """All deaths reported so far."""

    def __init__(self) -> None:
        self._by_task: dict[str, dict[str, Death]] = {}

    def add(self, death: Death) -> None:
        """Count a death; a repeat changes nothing."""
        self._by_task.setdefault(death.task, {})[death.attempt] = death

    def of(self, task: str) -> Sequence[Death]:
        """Return the deaths with this task in hand."""
        return tuple(self._by_task.get(task, {}).values())


def attempt_number(delivered: int, deaths: Sequence[Death]) -> int:
    """Return which attempt at a task this is: by the broker's count of deliveries or by ours, whichever knows more."""
    return max(delivered, 1 + len(deaths))


def reason_to_give_up(attempts: int, deaths: Sequence[Death]) -> str:
    """Say why nobody tries a task again after ``attempts`` attempts."""
    hung = [death for death in deaths if death.hung_at]
    known = []
    if len(deaths) > len(hung):
        known.append(f"{len(deaths) - len(hung)} ended their worker (killed or crashed)")
    if hung:
        known.append(f"{len(hung)} took longer than {hung[-1].limit:g} s")
    return f"given up after {attempts} attempts: {', '.join(known) or 'they ended or hung their workers'}"
