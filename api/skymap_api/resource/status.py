"""Status of a SkymapScan, written by the operator.

Programs should use the conditions. Phase and progress are for people, in the columns of ``kubectl get``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from skymap_api.resource.base import Count, DataKey, Flag, Model, Nside, Number, ObjectName, Whole, Word

#: Name of a file, as long as Linux allows.
FileName = Annotated[str, Field(max_length=255)]
Message = Annotated[str, Field(max_length=32768)]
#: An argument of a command, or the value of a variable, as long as Linux allows.
Argument = Annotated[str, Field(max_length=131072)]


class Phase(StrEnum):
    """Phase of a scan, in one word."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    SCANNING = "Scanning"
    WRITING = "Writing"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(StrEnum):
    """Types of conditions."""

    SUCCEEDED = "Succeeded"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    NOTIFIED = "Notified"


class Reason(StrEnum):
    """Reasons of conditions. The message of a condition says what to do."""

    # Progressing
    WAITING = "Waiting"
    PREPARING = "Preparing"
    SCANNING = "Scanning"
    WRITING = "Writing"
    SUSPENDED = "Suspended"
    DELETING = "Deleting"
    FINISHED = "Finished"
    # Succeeded
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    EVENT_UNREACHABLE = "EventUnreachable"
    EVENT_UNUSABLE = "EventUnusable"
    ROLE_FAILED = "RoleFailed"
    SOFTWARE_MISMATCH = "SoftwareMismatch"  # also of Degraded, while other workers fit
    OUTPUT_FAILED = "OutputFailed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    NEVER_STARTED = "NeverStarted"
    # Degraded
    AS_EXPECTED = "AsExpected"
    PULSAR_UNAVAILABLE = "PulsarUnavailable"
    PULSAR_REFUSED = "PulsarRefused"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_UNBOUND = "ClaimUnbound"
    CLAIM_FULL = "ClaimFull"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - no secret
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    PODS_REJECTED = "PodsRejected"
    OBJECTS_REJECTED = "ObjectsRejected"
    OBJECTS_INVALID = "ObjectsInvalid"
    NOT_ALLOWED = "NotAllowed"
    OTHER_VERSION = "OtherVersion"
    WEBHOOK_UNAVAILABLE = "WebhookUnavailable"
    VOLUME_NOT_MOUNTED = "VolumeNotMounted"
    SANDBOX_NOT_CREATED = "SandboxNotCreated"
    CONTAINER_NOT_CREATED = "ContainerNotCreated"
    POD_EVICTED = "PodEvicted"
    NODE_NOT_READY = "NodeNotReady"
    NAME_TAKEN = "NameTaken"
    WORKERS_CRASHING = "WorkersCrashing"
    MESSAGE_UNREADABLE = "MessageUnreadable"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    KUBERNETES_WARNING = "KubernetesWarning"
    # Notified
    NOTICES_SENT = "NoticesSent"
    NOTICES_FAILED = "NoticesFailed"


class Status(Model):
    """A part of the status. Fields of other versions of the operator are ignored."""

    model_config = ConfigDict(extra="ignore")


class Condition(Status):
    """A condition in the standard form of Kubernetes."""

    type: ConditionType
    """Succeeded: whether the finished scan has its results. Progressing: whether it is running. Degraded: whether a
    problem holds it up. Notified: whether all destinations have got its notices, if it names any."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    observed_generation: Annotated[Whole, Field(ge=0)] = 0
    """Generation of the spec that the condition refers to."""
    last_transition_time: AwareDatetime
    """Time of the last change of status."""
    reason: Annotated[Reason, Field(max_length=128)]
    """Reason of the last change, in one word."""
    message: Message = ""
    """Explanation for people: with the last log lines of a failed pod, and what to do."""


class LevelStatus(Status):
    """Progress of a level."""

    nside: Nside
    """HEALPix nside of the level."""
    done: Count
    """Pixels that are done."""
    planned: Count
    """Pixels to scan, estimated until they are decided."""
    decided: Flag = False
    """Whether the pixels of the level are decided."""
    failed: Count = 0
    """Pixels without a successful fit."""


class Pixels(Status):
    """Pixels of the scan."""

    done: Count = 0
    """Pixels of all levels that are done."""
    planned: Count = 0
    """Pixels of all levels to scan."""
    failed: Count = 0
    """Pixels without a successful fit."""
    levels: Annotated[tuple[LevelStatus, ...], Field(max_length=14)] = ()
    """Progress of each level."""


class CalibrationStatus(Status):
    """Re-simulations of the event that calibrate its contours."""

    done: Count
    """Re-simulations that are done."""
    planned: Count
    """All re-simulations."""
    failed: Count = 0
    """Re-simulations without a fit."""


class BestFitStatus(Status):
    """The best fit so far."""

    nside: Nside
    """HEALPix nside of the pixel."""
    pixel: Count
    """Index of the pixel (RING order, equatorial)."""
    ra: Annotated[Number, Field(ge=0, lt=360)]
    """Right ascension of the pixel's centre (degrees, J2000)."""
    dec: Annotated[Number, Field(ge=-90, le=90)]
    """Declination of the pixel's centre (degrees, J2000)."""
    llh: Number
    """-ln L of the fit."""
    area_90: Annotated[Number, Field(ge=0)] | None = None
    """Area of the 90 % region (deg²), if known."""
    contours: Literal["calibrated", "wilks"] | None = None
    """Rule of that region, if known: `calibrated`, or `wilks`, which is statistical only."""
    caution: Annotated[str, Field(max_length=1024)] | None = None
    """Why the minimum may lie elsewhere: at the edge of the scanned sky, or in a coarser pixel."""


class WorkersStatus(Status):
    """State of the workers."""

    desired: Count = 0
    """Desired workers: the replicas of the Deployment."""
    ready: Count = 0
    """Workers whose pods are ready."""
    busy: Count = 0
    """Workers with a task in flight."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the workers' pods, for the scale subresource."""
    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Reason of the desired number."""
    obstacle: Annotated[str, Field(max_length=1024)] | None = None
    """Why further workers do not start while others work."""
    seconds_per_task: Annotated[Number, Field(gt=0)] | None = None
    """Mean time of a fit (s), if known."""


class Outputs(Status):
    """Location of the results."""

    claim: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str, Field(max_length=1024)]
    """Folder in the claim."""
    files: Annotated[tuple[FileName, ...], Field(max_length=64)] = ()
    """Names of the files in the folder."""


class NoticeStatus(Status):
    """The latest notice to a destination."""

    to: Annotated[str, Field(max_length=1024)]
    """Destination, as `--notify` of the saver names it."""
    type: Literal["initial", "update", "retraction"]
    """Type of the notice."""
    state: Literal["Pending", "Sent", "Failed"]
    """Pending: it is sent, or sent again. Failed: the destination refused it."""
    sent: AwareDatetime | None = None
    """When the destination accepted it."""
    message: Annotated[str, Field(max_length=512)] | None = None
    """Why the last attempt failed."""


class NoticesStatus(Status):
    """The notices of the scan."""

    destinations: Annotated[tuple[NoticeStatus, ...], Field(max_length=8)] = ()
    """The latest notice to each destination."""
    fault: Annotated[str, Field(max_length=1024)] | None = None
    """Why no notice can be made or sent."""
    ended: Flag = False
    """Whether the saver sends no more: everything is sent, or given up."""


class RoleMemory(Status):
    """A memory limit that the operator has raised, because the role was ended for its use of memory."""

    role: Literal["producer", "collector", "saver"]
    """Role with the raised limit."""
    limit: Annotated[str, Field(max_length=32)]
    """Its memory limit now."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Reason of the raise."""


class KeyReference(Status):
    """A key of a ConfigMap or Secret in the scan's namespace."""

    name: ObjectName
    """Name of the ConfigMap or Secret."""
    key: DataKey
    """The key."""
    optional: Flag | None = None
    """Whether it may be missing."""


class ValueSource(Status):
    """Where the value of an environment variable comes from."""

    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""


class Variable(Status):
    """An environment variable, as in the spec of a pod."""

    name: Annotated[str, Field(max_length=256)]
    """Its name."""
    value: Argument | None = None
    """Its value."""
    value_from: ValueSource | None = None
    """Where its value comes from, if it has none of its own."""


class Command(Status):
    """What a container of the scan runs, as in the spec of a pod."""

    container: Word
    """Name of the container: producer, simulate, collector, saver or worker."""
    arguments: Annotated[tuple[Argument, ...], Field(max_length=512)] = ()
    """Arguments of the image's entry point."""
    environment: Annotated[tuple[Variable, ...], Field(max_length=64)] = ()
    """Environment variables."""
    inputs: Annotated[str, Field(max_length=64)]
    """Digest of what may change while the scan runs and determines the command, such as spec.output."""


class RunsWith(Status):
    """Image, commands and Pulsar of a scan from its start. No upgrade of the operator changes them."""

    image: Annotated[str, Field(max_length=1024)]
    """Image of the pods."""
    image_id: Annotated[str, Field(max_length=1024)] | None = None
    """What the node of the first pod found under this name, with its digest. Later pods run the same image, unless it
    comes from no registry."""
    operator: Annotated[str, Field(max_length=64)]
    """Version of the operator that recorded the commands. An older one creates and replaces no object of the scan."""
    commands: Annotated[tuple[Command, ...], Field(max_length=16)] = ()
    """Commands of the containers. A command changes only if what may change while the scan runs does."""
    service_url: Annotated[str, Field(max_length=2048)]
    """URL of Pulsar's broker."""
    admin_url: Annotated[str, Field(max_length=2048)]
    """URL of Pulsar's admin interface."""
    tenant: Word
    """Tenant of the scan's topics."""


class SkymapScanStatus(Status):
    """Status of the scan, written by the operator."""

    observed_generation: Annotated[Whole, Field(ge=0)] = 0
    """Generation of the spec that this status refers to."""
    phase: Phase | None = None
    """Phase of the scan, for people. Programs should use the conditions."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """Conditions: Succeeded, Progressing and Degraded, and Notified if spec.notices asks for notices."""
    level: Nside | None = None
    """Nside of the current level."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Pixels done of those planned, for people, such as 812/1536."""
    pixels: Pixels | None = None
    """Pixels of the scan."""
    calibration: CalibrationStatus | None = None
    """Re-simulations of the event that calibrate its contours, if spec.calibrate asks for them."""
    best: BestFitStatus | None = None
    """The best fit so far, or of the finished scan."""
    workers: WorkersStatus | None = None
    """State of the workers."""
    backlog: Count | None = None
    """Fits that wait for a worker."""
    rate: Annotated[Number, Field(ge=0)] | None = None
    """Recent rate (fits per second)."""
    eta: AwareDatetime | None = None
    """Estimated end of the scan at this rate."""
    outputs: Outputs | None = None
    """Location of the results."""
    left_out: Annotated[str, Field(max_length=4096)] | None = None
    """Result formats that are not written for lack of memory, and why."""
    notices: NoticesStatus | None = None
    """Notices of the scan, if spec.notices asks for them."""
    role_memory: Annotated[tuple[RoleMemory, ...], Field(max_length=3)] | None = None
    """Memory limits that the operator has raised, with the reason."""
    runs_with: RunsWith | None = None
    """Image, commands and Pulsar of the scan from its start. No upgrade of the operator changes them."""
    start_time: AwareDatetime | None = None
    """Start of the first pod."""
    completion_time: AwareDatetime | None = None
    """Time at which the scan finished, successfully or not."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of this type, None if it is not known yet."""
        return next((one for one in self.conditions if one.type is kind), None)
