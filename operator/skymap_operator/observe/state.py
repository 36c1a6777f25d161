"""What is seen of a scan: the resource, its objects, its pods, Pulsar. The only input of a decision.

Whoever looks (the operator's client code) fills these in; objects are the plain dictionaries of the Kubernetes API.
What is read of them stands here, so that it is tested without a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from skymap_api.names import COMPONENT_LABEL
from skymap_api.progress import Progress
from skymap_api.resource import SkymapScan, SkymapScanStatus
from skymap_api.resource.base import Manifest, describe_errors
from skymap_api.resource.spec import SkymapScanSpec
from skymap_api.resource.status import ConditionType, Reason

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def parse_time(text: str | None) -> datetime | None:
    """Read a time as Kubernetes writes it."""
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class ObservedScan:
    """The resource. ``spec`` is None where it cannot be read, ``invalid`` then says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]
    spec: SkymapScanSpec | None
    status: SkymapScanStatus
    invalid: str = ""

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> ObservedScan:
        """Read a resource as the API server gives it."""
        meta = resource["metadata"]
        spec, invalid = None, ""
        try:
            spec = SkymapScan.model_validate({**resource, "status": None}).spec
        except ValidationError as error:
            invalid = describe_errors(error)
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            generation=meta.get("generation", 1),
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            deleting="deletionTimestamp" in meta,
            finalizers=tuple(meta.get("finalizers", ())),
            spec=spec,
            status=_status(resource.get("status")),
            invalid=invalid,
        )

    @property
    def finished(self) -> bool:
        """Whether it is done, with success or without; it stays so."""
        found = [one.status for one in self.status.conditions if one.type is ConditionType.SUCCEEDED]
        return bool(found) and found[0] != "Unknown"

    @property
    def succeeded(self) -> bool:
        """Whether its results are written."""
        return any(one.type is ConditionType.SUCCEEDED and one.status == "True" for one in self.status.conditions)


def _status(found: Any) -> SkymapScanStatus:
    """Read the status; one that somebody else wrote and nobody can read is written anew."""
    try:
        return SkymapScanStatus.model_validate(found or {})
    except ValidationError:
        return SkymapScanStatus()


def topics_go(scan: ObservedScan) -> bool:
    """Tell whether the scan's topics are to be deleted now that it is done or deleted."""
    policy = "OnDelete" if scan.spec is None else scan.spec.cleanup_policy.topics
    if scan.deleting:
        return policy != "Never"
    return policy == "Always" or (policy == "OnSuccess" and scan.succeeded)


def needs_other_plans(scan: ObservedScan) -> bool:
    """Tell whether it matters which frames other scans use: only when this one's topics are about to go."""
    return (scan.deleting or scan.finished) and topics_go(scan)


def job_condition(job: Manifest, kind: str) -> Manifest | None:
    """Return a condition of a Job that holds: Complete or Failed."""
    conditions = job.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


@dataclass(frozen=True)
class Termination:
    """How a container ended: ``message`` holds the last lines of its log where it failed."""

    code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Pod:
    """A pod of the scan.

    ``waiting``: reason and message why a container does not start. ``unschedulable``: why there is no node for it.
    ``ended``: how its container ended last, also before it was started again.
    """

    name: str
    role: str
    phase: str = "Pending"
    ready: bool = False
    started: datetime | None = None
    ip: str | None = None
    waiting: tuple[str, str] | None = None
    unschedulable: str | None = None
    ended: Termination | None = None
    restarts: int = 0
    deleting: bool = False
    deletion_cost: int = 0

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> Pod:
        """Read a pod as the API server gives it."""
        meta, status = pod["metadata"], pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        conditions = {one["type"]: one for one in status.get("conditions", ())}
        placed = conditions.get("PodScheduled", {})
        unplaced = placed.get("status") == "False" and placed.get("reason") == "Unschedulable"
        waiting = [one["state"]["waiting"] for one in containers if "waiting" in one.get("state", {})]
        return cls(
            name=meta["name"],
            role=meta.get("labels", {}).get(COMPONENT_LABEL, ""),
            phase=status.get("phase", "Pending"),
            ready=conditions.get("Ready", {}).get("status") == "True",
            started=_started(containers),
            ip=status.get("podIP"),
            waiting=(waiting[0].get("reason", ""), waiting[0].get("message", "")) if waiting else None,
            unschedulable=placed.get("message", "") if unplaced else None,
            ended=_ended(containers),
            restarts=max((one.get("restartCount", 0) for one in containers), default=0),
            deleting="deletionTimestamp" in meta,
            deletion_cost=int(meta.get("annotations", {}).get(DELETION_COST, "0")),
        )

    @property
    def over(self) -> bool:
        """Whether none of its containers will run again."""
        return self.phase in {"Succeeded", "Failed"}


def _started(containers: list[Any]) -> datetime | None:
    states = [one.get(kind, {}) for one in containers for kind in ("state", "lastState")]
    times = [
        parse_time(state[kind].get("startedAt"))
        for state in states
        for kind in ("running", "terminated")
        if kind in state
    ]
    return min((time for time in times if time is not None), default=None)


def _ended(containers: list[Any]) -> Termination | None:
    """Return how the first container that failed ended, else any that ended."""
    states = [one.get(kind, {}).get("terminated") for one in containers for kind in ("state", "lastState")]
    ends = [
        Termination(one.get("exitCode", 0), one.get("reason", ""), one.get("message", ""))
        for one in states
        if one is not None
    ]
    return next((end for end in ends if end.code), ends[0] if ends else None)


@dataclass(frozen=True)
class ObservedWarning:
    """A warning about an object of the scan: an Event of the cluster, or what the operator met when it acted.

    ``reason``: that of the Event; ``Refused`` where the cluster did not let the operator act, or the `Reason` with
    which Pulsar did not.
    """

    object: str
    reason: str
    message: str


@dataclass(frozen=True)
class Backlog:
    """Messages of a subscription: that wait for a consumer, and that one has in hand."""

    waiting: int
    unacked: int


@dataclass(frozen=True)
class Throughput:
    """Fits that the workers of now have done, and the worker seconds that these took."""

    done: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PulsarState:
    """What Pulsar knows of the scan.

    ``topics``: those of its own that exist, with their subscriptions. ``tasks``, ``fits``: its two queues, None where
    they are not there. ``busy``: hosts of the consumers that have a task in hand (the addresses of pods).
    ``pace``: how fast workers fit. ``plan_ended``: the last entry of the plan is its end. ``metadata``: topics with the
    event's frames that the plan names and that exist; ``elsewhere``: those that plans of other scans name, None where
    it is not known.
    """

    topics: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tasks: Backlog | None = None
    fits: Backlog | None = None
    busy: frozenset[str] = frozenset()
    pace: Throughput = Throughput()
    plan_ended: bool = False
    progress: Progress | None = None
    progress_time: datetime | None = None
    metadata: tuple[str, ...] = ()
    elsewhere: frozenset[str] | None = None


@dataclass(frozen=True)
class PulsarFault:
    """Why Pulsar could not be asked."""

    reason: Literal[Reason.PULSAR_UNAVAILABLE, Reason.PULSAR_REFUSED]
    message: str


@dataclass(frozen=True)
class ObservedState:
    """All that a decision about one scan is made of.

    ``children``: objects of the names that are the scan's, whoever owns them, by kind and name. ``claim``: the claim
    for the results, whoever made it, None where there is none. ``tls_keys``: keys of the Secret with the certificates,
    None where it is not there. ``share``: what the scan may have of the cluster's workers, None without a limit.
    """

    now: datetime
    scan: ObservedScan
    pulsar: PulsarState | PulsarFault
    children: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    claim: Manifest | None = None
    pods: tuple[Pod, ...] = ()
    warnings: tuple[ObservedWarning, ...] = ()
    tls_keys: frozenset[str] | None = frozenset()
    share: int | None = None
