"""How far a scan is: the part of the resource that the operator writes.

Conditions are what a program should look at; phase and progress are for people, in the columns of ``kubectl get``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from skymap_api.resource.base import Count, Flag, Model, Nside, Number, ObjectName, Whole, Word

#: Name of a file, as long as Linux allows.
FileName = Annotated[str, Field(max_length=255)]
Message = Annotated[str, Field(max_length=32768)]


class Phase(StrEnum):
    """Where a scan is, in one word."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    SCANNING = "Scanning"
    WRITING = "Writing"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(StrEnum):
    """What a condition speaks of."""

    SUCCEEDED = "Succeeded"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """Why a condition is as it is; what to do stands in its message."""

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
    INVALID_SPEC = "InvalidSpec"
    EVENT_UNREACHABLE = "EventUnreachable"
    EVENT_UNUSABLE = "EventUnusable"
    ROLE_FAILED = "RoleFailed"
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
    PODS_REFUSED = "PodsRefused"
    OBJECTS_REFUSED = "ObjectsRefused"
    NAME_TAKEN = "NameTaken"
    WORKERS_CRASHING = "WorkersCrashing"
    NAMESPACE_TERMINATING = "NamespaceTerminating"


class Status(Model):
    """A part of the status. What another version of the operator wrote beside it is ignored."""

    model_config = ConfigDict(extra="ignore")


class Condition(Status):
    """One condition, in the form that all of Kubernetes uses."""

    type: ConditionType
    """Succeeded: the scan is done, and how it ended. Progressing: it is going on. Degraded: something is in its way."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    observed_generation: Annotated[Whole, Field(ge=0)] = 0
    """Generation of the spec that this was found for."""
    last_transition_time: AwareDatetime
    """When status last changed."""
    reason: Annotated[Reason, Field(max_length=128)]
    """Why, in one word."""
    message: Message = ""
    """Why, in a sentence: with the last words of a pod that failed, and what to do."""


class LevelStatus(Status):
    """How far one level is."""

    nside: Nside
    """HEALPix nside of the level."""
    done: Count
    """Pixels whose best fit is known."""
    planned: Count
    """Pixels to scan; an estimate until the level is decided."""
    decided: Flag = False
    """Whether it is known which pixels they are."""
    failed: Count = 0
    """Pixels without any fit that succeeded."""


class Pixels(Status):
    """How many pixels are done."""

    done: Count = 0
    """Pixels done in all levels."""
    planned: Count = 0
    """Pixels of all levels."""
    failed: Count = 0
    """Pixels without any fit that succeeded."""
    levels: Annotated[tuple[LevelStatus, ...], Field(max_length=14)] = ()
    """How far each level is."""


class BestFitStatus(Status):
    """The best fit so far."""

    nside: Nside
    """HEALPix nside of the best pixel."""
    pixel: Count
    """Index of the best pixel (RING order, equatorial)."""
    ra: Annotated[Number, Field(ge=0, lt=360)]
    """Right ascension of its centre (degrees, J2000)."""
    dec: Annotated[Number, Field(ge=-90, le=90)]
    """Declination of its centre (degrees, J2000)."""
    llh: Number
    """Its -ln L."""
    area_90: Annotated[Number, Field(ge=0)] | None = None
    """Area of the 90 % region (deg²), once it is known."""


class WorkersStatus(Status):
    """What the workers do."""

    wanted: Count = 0
    """Workers that the Deployment is set to."""
    ready: Count = 0
    """Workers whose pods run."""
    busy: Count = 0
    """Workers that have a fit in hand."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Selects the workers' pods, for kubectl scale and autoscalers."""
    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Why so many are wanted."""
    seconds_per_task: Annotated[Number, Field(gt=0)] | None = None
    """How long a fit takes (s), a running mean, once it is known."""


class Outputs(Status):
    """Where the results are."""

    claim: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str, Field(max_length=1024)]
    """Folder in the claim."""
    files: Annotated[tuple[FileName, ...], Field(max_length=64)] = ()
    """Names of the files in it."""


class RunsWith(Status):
    """What a scan began with and keeps, whatever the operator is set to later."""

    image: Annotated[str, Field(max_length=1024)]
    """Image of its pods."""
    service_url: Annotated[str, Field(max_length=2048)]
    """Address of its Pulsar."""
    admin_url: Annotated[str, Field(max_length=2048)]
    """Address of the admin interface."""
    tenant: Word
    """Tenant that its topics belong to."""


class SkymapScanStatus(Status):
    """How far the scan is; written by the operator."""

    observed_generation: Annotated[Whole, Field(ge=0)] = 0
    """Generation of the spec that this status was found for."""
    phase: Phase | None = None
    """Where the scan is, in one word, for people; programs look at the conditions."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Succeeded, Progressing and Degraded, each with its reason."""
    level: Nside | None = None
    """Nside of the level that is being scanned."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Pixels done of those planned, for people: 812/1536."""
    pixels: Pixels | None = None
    """How many pixels are done."""
    best: BestFitStatus | None = None
    """The best fit so far, and at the end the result."""
    workers: WorkersStatus | None = None
    """What the workers do."""
    backlog: Count | None = None
    """Fits that wait for a worker."""
    rate: Annotated[Number, Field(ge=0)] | None = None
    """Pixels per second, of late."""
    eta: AwareDatetime | None = None
    """When the scan will be done, if it goes on like this."""
    outputs: Outputs | None = None
    """Where the results are."""
    runs_with: RunsWith | None = None
    """What the scan began with and keeps, whatever the operator is set to later."""
    start_time: AwareDatetime | None = None
    """When the first pod started."""
    completion_time: AwareDatetime | None = None
    """When the scan was done, with success or without."""
