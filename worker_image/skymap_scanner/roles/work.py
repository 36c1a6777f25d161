"""Who made each fit, when, and at which attempt: message properties beside the fits.

    worker ─▶ property of the fit ─▶ collector ─▶ property of the best fit ─▶ saver ─▶ history

No frame holds any of it, so the map does not depend on it. Whoever reads it must do without: a fit that a collector
gave up has none, and what another program sends may be unreadable.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from skymap_api.text import bounded_line

#: Message property of a fit, and of a best fit, which has that of all fits of its round.
WORK_PROPERTY = "work"
#: Longest name of a worker (characters), latest time (s since 1970), and most attempts that are read.
MAX_WORKER, MAX_TIME, MAX_ATTEMPTS = 200, 1e11, 10**6
#: Longest text of a failure that is kept (characters).
MAX_FAILURE = 200
#: Longest property that is read (bytes): that of 7 seeds has 1 kB.
MAX_PROPERTY = 1 << 14


class Work(BaseModel):
    """The work on one fit, by the clock of its worker."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    worker: str = Field(max_length=MAX_WORKER)
    """The worker: host name and process."""
    began: float = Field(ge=0, le=MAX_TIME, allow_inf_nan=False)
    """When the fit began (s since 1970)."""
    ended: float = Field(ge=0, le=MAX_TIME, allow_inf_nan=False)
    """When it ended."""
    attempt: int = Field(ge=1, le=MAX_ATTEMPTS)
    """Number of the attempt; more than 1 after the crash of a worker."""


class SeedWork(Work):
    """The work on one fit of a round."""

    seed: int = Field(ge=0, le=100)
    """Number of the seed."""
    llh: float | None = Field(allow_inf_nan=False)
    """-ln L; None if the fit failed."""
    failure: str = Field(default="", max_length=MAX_FAILURE)
    """Why the fit failed, in one line."""


_ROUND = TypeAdapter(list[SeedWork])


def worker_name() -> str:
    """Return the name of this worker: the host (in a cluster its pod) and the process."""
    return bounded_line(f"{socket.gethostname()}-{os.getpid()}", MAX_WORKER)


def encode_work(work: Work) -> str:
    """Return the property of a fit."""
    return work.model_dump_json()


def decode_work(properties: Mapping[str, str]) -> Work | None:
    """Return the work on a fit from its message's properties; None if it is not stated, or unreadable."""
    text = properties.get(WORK_PROPERTY, "")
    if not text or len(text) > MAX_PROPERTY:
        return None
    try:
        return Work.model_validate_json(text)
    except ValidationError:
        return None


def encode_round(works: Iterable[SeedWork]) -> str:
    """Return the property of a best fit."""
    return _ROUND.dump_json(list(works)).decode()


def decode_round(text: str) -> list[SeedWork]:
    """Return the work on the fits of a round; none if it is not stated, or unreadable."""
    if not text or len(text) > MAX_PROPERTY:
        return []
    try:
        return _ROUND.validate_json(text)
    except ValidationError:
        return []
