"""The observed state of a scan: the resource, its pods, its children and Pulsar. It is the only input of a decision.

Everything that is read from the dictionaries of the Kubernetes API is read here and in `children`, without a client,
so that it is tested without a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import ValidationError

from skymap_api.exit_codes import ExitCode
from skymap_api.names import COMPONENT_LABEL
from skymap_api.progress import Progress
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScan, SkymapScanStatus
from skymap_api.resource.spec import SkymapScanSpec
from skymap_api.resource.status import ConditionType, Reason, RunsWith
from skymap_api.text import bounded_line
from skymap_api.validation_errors import describe_errors
from skymap_operator.observe.children import Children
from skymap_operator.observe.status import read_status
from skymap_operator.version import VERSION, is_newer

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

#: Reasons of the warning about an action that the cluster refused: it is forbidden, or a field is invalid.
REFUSED, INVALID = "Refused", "Invalid"

#: Most characters that are kept of a message or reason of Kubernetes, whose parts may come from anybody.
LONGEST_MESSAGE, LONGEST_REASON = 1024, 128


def parse_time(text: str | None) -> datetime | None:
    """Parse a time of the Kubernetes API."""
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class ObservedScan:
    """The SkymapScan.

    ``spec`` is None if this version of the operator cannot read it; ``spec_error`` is then the reason. ``recorded``:
    status.runsWith as it is stored. Another version may have written it: it may have more fields than are read here,
    or fields that cannot be read.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]
    spec: SkymapScanSpec | None
    status: SkymapScanStatus
    spec_error: str = ""
    recorded: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> ObservedScan:
        """Parse a SkymapScan of the Kubernetes API."""
        meta = resource["metadata"]
        spec, spec_error = None, ""
        try:
            spec = SkymapScan.model_validate({**resource, "status": None}).spec
        except ValidationError as error:
            spec_error = describe_errors(error)
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            generation=meta.get("generation", 1),
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            deleting="deletionTimestamp" in meta,
            finalizers=tuple(meta.get("finalizers", ())),
            spec=spec,
            status=read_status(resource.get("status")),
            spec_error=spec_error,
            recorded=_recorded(resource.get("status")),
        )

    @property
    def unreadable(self) -> str:
        """Why this version cannot tell what the scan runs with; empty if it can, or if nothing is recorded yet."""
        if self.recorded is None:
            return ""
        try:
            RunsWith.model_validate(self.recorded)
        except ValidationError as error:
            return describe_errors(error)
        return ""

    @property
    def finished(self) -> bool:
        """Whether it has ended, with success or without, and was not corrected since."""
        found = self.status.condition(ConditionType.SUCCEEDED)
        return found is not None and found.status != "Unknown" and not self.corrected

    @property
    def correctable(self) -> bool:
        """Whether it has failed to write its results alone, so that its fits are still needed."""
        found = self.status.condition(ConditionType.SUCCEEDED)
        return found is not None and found.status == "False" and found.reason is Reason.OUTPUT_FAILED

    @property
    def corrected(self) -> bool:
        """Whether it is correctable and its spec has changed since: its saver runs again."""
        return self.correctable and self.spec is not None and self.generation > self.status.observed_generation

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with success."""
        found = self.status.condition(ConditionType.SUCCEEDED)
        return found is not None and found.status == "True"


def _recorded(status: Any) -> Mapping[str, Any] | None:
    found = status.get("runsWith") if isinstance(status, Mapping) else None
    return found if isinstance(found, Mapping) else None


def deletes_topics(scan: ObservedScan) -> bool:
    """Return whether the topics of a scan that has finished or is being deleted are to be deleted."""
    policy = "OnDelete" if scan.spec is None else scan.spec.cleanup_policy.topics
    if scan.deleting:
        return policy != "Never"
    return (policy == "Always" and not scan.correctable) or (policy == "OnSuccess" and scan.succeeded)


def topics_end(scan: ObservedScan) -> bool:
    """Return whether the topics of a scan are about to be deleted."""
    return (scan.deleting or scan.finished) and deletes_topics(scan)


@dataclass(frozen=True)
class Termination:
    """How a container ended. ``message``: the last lines of its log if it failed."""

    code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Pod:
    """A pod of the scan.

    ``placed``: it has a node. ``connected``: its volumes are mounted and it has a network. ``started``,
    ``last_started``: when the first of its containers started, and when one did last. ``waiting``: reason and message
    of a container that does not start. ``image_id``: the image that its container runs, as the node names it.
    ``unschedulable``: why no node takes the pod. ``failure``: reason and message
    with which a node evicted or refused it. ``termination``: how its container ended last, also if it was restarted
    since. ``ends``: by when a terminating pod should have ended.
    """

    name: str
    role: str
    phase: str = "Pending"
    uid: str = ""
    created: datetime | None = None
    placed: bool = False
    connected: bool = False
    ready: bool = False
    started: datetime | None = None
    last_started: datetime | None = None
    ip: str | None = None
    waiting: tuple[str, str] | None = None
    unschedulable: str | None = None
    failure: tuple[str, str] | None = None
    termination: Termination | None = None
    restarts: int = 0
    terminating: bool = False
    ends: datetime | None = None
    deletion_cost: int = 0
    owner: str = ""
    image_id: str = ""

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> Pod:
        """Parse a pod of the Kubernetes API."""
        meta, status = pod["metadata"], pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        conditions = {one["type"]: one for one in status.get("conditions", ())}
        placed = conditions.get("PodScheduled", {})
        waiting = [one["state"]["waiting"] for one in containers if "waiting" in one.get("state", {})]
        starts = _starts(containers)
        return cls(
            name=meta["name"],
            role=meta.get("labels", {}).get(COMPONENT_LABEL, ""),
            phase=status.get("phase", "Pending"),
            uid=meta.get("uid", ""),
            created=parse_time(meta.get("creationTimestamp")),
            placed=placed.get("status") == "True",
            connected=conditions.get("PodReadyToStartContainers", {}).get("status") == "True",
            ready=conditions.get("Ready", {}).get("status") == "True",
            started=min(starts, default=None),
            last_started=max(starts, default=None),
            ip=status.get("podIP"),
            waiting=_reason_and_message(waiting[0]) if waiting else None,
            unschedulable=_unschedulable(placed),
            failure=_reason_and_message(status) if status.get("phase") == "Failed" and status.get("reason") else None,
            termination=_termination(containers),
            restarts=max((one.get("restartCount", 0) for one in containers), default=0),
            terminating="deletionTimestamp" in meta,
            ends=parse_time(meta.get("deletionTimestamp")),
            deletion_cost=_deletion_cost(meta.get("annotations", {})),
            owner=next((one["uid"] for one in meta.get("ownerReferences") or () if one.get("controller")), ""),
            image_id=next((one["imageID"] for one in reversed(containers) if one.get("imageID")), ""),
        )

    @property
    def out_of_memory(self) -> bool:
        """Whether its container was ended last for its use of memory, or has ended itself before it came to that."""
        if self.termination is None:
            return False
        return self.termination.reason == "OOMKilled" or self.termination.code == ExitCode.TOO_LITTLE_MEMORY

    @property
    def finished(self) -> bool:
        """Whether none of its containers runs or will run again."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def live(self) -> bool:
        """Whether it runs or will run."""
        return not self.terminating and not self.finished

    @property
    def starting(self) -> bool:
        """Whether it has still to start a container, for the first time or again."""
        return self.live and (self.phase == "Pending" or self.waiting is not None)


def _deletion_cost(annotations: Mapping[str, str]) -> int:
    """Read the deletion cost; anybody may write the annotation, so one that is no number counts as 0."""
    try:
        return int(annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _reason_and_message(found: Mapping[str, Any]) -> tuple[str, str]:
    reason, message = found.get("reason") or "", found.get("message") or ""
    return bounded_line(reason, LONGEST_REASON), bounded_line(message, LONGEST_MESSAGE)


def _unschedulable(placed: Mapping[str, Any]) -> str | None:
    """Return why the scheduler has not placed a pod, whatever it calls the reason; None if it has."""
    if placed.get("status") != "False":
        return None
    reason, message = _reason_and_message(placed)
    return message or reason


def _starts(containers: list[Any]) -> list[datetime]:
    states = [one.get(kind, {}) for one in containers for kind in ("state", "lastState")]
    times = [
        parse_time(state[kind].get("startedAt"))
        for state in states
        for kind in ("running", "terminated")
        if kind in state
    ]
    return [time for time in times if time is not None]


def _termination(containers: list[Any]) -> Termination | None:
    """Return how the first container that failed ended, otherwise any that ended."""
    states = [one.get(kind, {}).get("terminated") for one in containers for kind in ("state", "lastState")]
    ends = [
        Termination(one.get("exitCode", 0), one.get("reason", ""), one.get("message", ""))
        for one in states
        if one is not None
    ]
    return next((end for end in ends if end.code), ends[0] if ends else None)


@dataclass(frozen=True)
class ObservedWarning:
    """A warning about an object of the scan: an Event of the cluster, or a refused action of the operator.

    ``reason``: that of the Event; for an action, `REFUSED` by the cluster, `INVALID` if that was for a field of the
    object, or the `Reason` why Pulsar refused it.
    """

    object: str
    reason: str
    message: str

    @classmethod
    def of(cls, about: str, reason: str, message: str) -> ObservedWarning:
        """Take over a warning from outside, in printable lines of bounded length."""
        return cls(about, bounded_line(reason, LONGEST_REASON), bounded_line(message, LONGEST_MESSAGE))


@dataclass(frozen=True)
class RefusedEnlargement:
    """The cluster has refused to enlarge the claim to ``size``; ``again``: when it is tried again, after ``pause``."""

    size: str
    message: str
    pause: timedelta
    again: datetime

    #: The first pause, which doubles with each refusal, and the longest: an Event is kept for an hour.
    FIRST: ClassVar[timedelta] = timedelta(minutes=1)
    LONGEST: ClassVar[timedelta] = timedelta(hours=1)

    @classmethod
    def of(cls, size: str, message: str, before: Self | None, now: datetime) -> Self:
        """Return a refusal; ``before``: the last one of the scan."""
        pause = min(2 * before.pause, cls.LONGEST) if before is not None and before.size == size else cls.FIRST
        return cls(size, message, pause, now + pause)


@dataclass(frozen=True)
class PulsarState:
    """The state of the scan in Pulsar.

    ``topics``: the scan's own topics that exist, with their subscriptions. ``tasks``, ``fits``: its two queues, None if
    they do not exist. ``plan_ended``: the last entry of the plan is its end. ``progress_fault``,
    ``plan_fault``: why the last message there cannot be read; what it says is then unknown, not missing. ``metadata``:
    the topics with the frames of its event, read only before they are deleted.
    """

    topics: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tasks: Subscription | None = None
    fits: Subscription | None = None
    plan_ended: bool = False
    progress: Progress | None = None
    progress_time: datetime | None = None
    progress_fault: str = ""
    plan_fault: str = ""
    metadata: tuple[str, ...] = ()


@dataclass(frozen=True)
class PulsarFault:
    """Why Pulsar could not be read."""

    reason: Literal[Reason.PULSAR_UNAVAILABLE, Reason.PULSAR_REFUSED, Reason.NOT_ALLOWED]
    message: str


@dataclass(frozen=True)
class ObservedState:
    """Everything that a decision about one scan depends on.

    ``tls_keys``: keys of the Secret with the certificates, None if it does not exist. ``allocation``: the most workers
    that the scan may have beside other scans, None without such a limit. ``refused_enlargement``: the last of the
    claim. ``operator``: the version of this operator. ``tokens_issued``: when it has last signed tokens for the
    scan's roles, None if it does not know.
    """

    now: datetime
    scan: ObservedScan
    pulsar: PulsarState | PulsarFault
    children: Children = field(default_factory=Children)
    pods: tuple[Pod, ...] = ()
    warnings: tuple[ObservedWarning, ...] = ()
    tls_keys: frozenset[str] | None = frozenset()
    allocation: int | None = None
    refused_enlargement: RefusedEnlargement | None = None
    operator: str = VERSION
    tokens_issued: datetime | None = None

    @property
    def begun_by_newer(self) -> bool:
        """Whether a newer operator recorded what the scan runs with: this one would make other objects of it."""
        runs = self.scan.status.runs_with
        return runs is not None and is_newer(runs.operator, self.operator)
