"""The actions that a decision consists of, as plain values; `skymap_operator.apply` performs them.

They are performed in order, up to the first that fails; the next pass starts from the state that it observes. Therefore
the order matters: the finalizer first, then the status, which records Pulsar and image, then the topics with the
permissions on them, then the tokens, then the objects. Topics are deleted only after the pods. The status of a
suspended scan comes last: it reports the suspension when Jobs and workers have been suspended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import Manifest
from skymap_operator.decide.scaling import Cause, Direction


class Action:
    """Something to do about a scan."""


@dataclass(frozen=True)
class AddFinalizer(Action):
    """Add the operator's finalizer: from now on topics may exist, which only the operator deletes."""


@dataclass(frozen=True)
class RemoveFinalizer(Action):
    """Remove the operator's finalizer: nothing is left that only the operator could delete."""


@dataclass(frozen=True)
class SetStatus(Action):
    """Replace the whole status of the scan."""

    status: SkymapScanStatus


@dataclass(frozen=True)
class EnsureTopics(Action):
    """Create the topics that are missing, each with subscriptions from its first message."""

    topics: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class DeleteTopics(Action):
    """Delete topics with their subscriptions, in this order; a topic that does not exist is no error."""

    topics: tuple[str, ...]


@dataclass(frozen=True)
class IssueTokens(Action):
    """Sign tokens for the roles of the scan and store them in this Secret, whose manifest is without them."""

    manifest: Manifest


@dataclass(frozen=True)
class Create(Action):
    """Create an object; one that exists by now is no error."""

    manifest: Manifest


@dataclass(frozen=True)
class Replace(Action):
    """Replace an object by the manifest."""

    manifest: Manifest


@dataclass(frozen=True)
class Patch(Action):
    """Apply a merge patch to an object."""

    kind: str
    name: str
    patch: dict[str, Any]


@dataclass(frozen=True)
class EnlargeClaim(Action):
    """Let a claim ask for more. Many storage classes refuse it, which hinders nothing else."""

    name: str
    size: str


@dataclass(frozen=True)
class Delete(Action):
    """Delete an object, and in the background what it owns. ``grace``: grace period of a pod (s)."""

    kind: str
    name: str
    grace: int | None = None


@dataclass(frozen=True)
class DeleteScan(Action):
    """Delete the SkymapScan itself."""


@dataclass(frozen=True)
class Emit(Action):
    """Record an Event of the scan."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """The actions to perform now, in this order, and after how long (s) to reconcile again without an event.

    ``scaled``: the change of the number of workers and its cause, None if that was not decided.
    """

    actions: tuple[Action, ...]
    requeue_after: float
    scaled: tuple[Direction, Cause] | None = None
