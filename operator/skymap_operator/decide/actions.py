"""What the operator does: plain values, applied in their order by whoever has the clients.

The first that fails ends the pass; the next one begins with a new look. So an order matters: the finalizer before the
topics, topics before pods, pods gone before their topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import Manifest
from skymap_operator.decide.scaling import Cause, Direction


@dataclass(frozen=True)
class AddFinalizer:
    """From here on there may be topics, which only we delete."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Nothing is left that only we could delete."""


@dataclass(frozen=True)
class SetStatus:
    """Replace the whole status of the scan."""

    status: SkymapScanStatus


@dataclass(frozen=True)
class EnsureTopics:
    """Make topics, each with its subscriptions from the first message, where they are missing."""

    topics: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class DeleteTopics:
    """Delete topics with their subscriptions, in this order; one that is gone already is fine."""

    topics: tuple[str, ...]


@dataclass(frozen=True)
class Create:
    """Make an object; one that is there by now is fine."""

    manifest: Manifest


@dataclass(frozen=True)
class Replace:
    """Make an object what the manifest says."""

    manifest: Manifest


@dataclass(frozen=True)
class Patch:
    """Change the fields in ``patch`` (a merge patch) of an object."""

    kind: str
    name: str
    patch: dict[str, Any]


@dataclass(frozen=True)
class Delete:
    """Delete an object, and in the background what it owns; ``grace``: how long a pod may still run (s)."""

    kind: str
    name: str
    grace: int | None = None


@dataclass(frozen=True)
class DeleteScan:
    """Delete the SkymapScan itself."""


@dataclass(frozen=True)
class Emit:
    """Tell it as an Event of the scan."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Action = (
    AddFinalizer
    | RemoveFinalizer
    | SetStatus
    | EnsureTopics
    | DeleteTopics
    | Create
    | Replace
    | Patch
    | Delete
    | DeleteScan
    | Emit
)


@dataclass(frozen=True)
class Plan:
    """What to do now, in this order, and when to look again (s) if nothing is heard of the scan until then.

    ``scaled``: what it does to the number of workers and why, where that was decided at all.
    """

    actions: tuple[Action, ...]
    requeue_after: float
    scaled: tuple[Direction, Cause] | None = None
