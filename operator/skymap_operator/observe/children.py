"""The objects of a scan in Kubernetes, and their properties that decisions depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from skymap_api.names import GROUP, JOB_ROLES, SCAN_LABEL
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.trim import data_digest, explains_missing_pods

#: Annotation of a Job with the memory limit of its pods. Their template is not kept in the operator's memory.
MEMORY_LIMIT = f"{GROUP}/memory-limit"


@dataclass(frozen=True)
class Child:
    """An object that has one of the scan's names. ``owned``: it belongs to this scan and to no other owner."""

    kind: ClassVar[str]
    manifest: Manifest
    owned: bool = True

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def terminating(self) -> bool:
        """Whether it has been deleted but still exists."""
        return "deletionTimestamp" in self.manifest["metadata"]

    @property
    def managed(self) -> bool:
        """Whether the operator may still change or delete it."""
        return self.owned and not self.terminating

    @property
    def spec(self) -> Manifest:
        """Its spec."""
        return self.manifest.get("spec") or {}

    @property
    def status(self) -> Manifest:
        """Its status."""
        return self.manifest.get("status") or {}

    def condition(self, kind: str) -> Manifest | None:
        """Return the condition of this type if it is true."""
        conditions = self.status.get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


@dataclass(frozen=True)
class ConfigMap(Child):
    """The ConfigMap with the scan."""

    kind = "ConfigMap"

    @property
    def empty(self) -> bool:
        """Whether it has no data."""
        return data_digest(self.manifest) == data_digest({})


@dataclass(frozen=True)
class Job(Child):
    """The Job of one role."""

    kind = "Job"

    @property
    def complete(self) -> Manifest | None:
        """The condition Complete if it is true."""
        return self.condition("Complete")

    @property
    def failed(self) -> Manifest | None:
        """The condition Failed if it is true."""
        return self.condition("Failed")

    @property
    def finished(self) -> bool:
        """Whether it is complete or failed, so that it starts no more pods."""
        return self.complete is not None or self.failed is not None

    @property
    def suspended(self) -> bool:
        """Whether it may have no pods for now."""
        return bool(self.spec.get("suspend"))

    @property
    def active(self) -> int:
        """Number of its pods that are pending or running."""
        return int(self.status.get("active") or 0)

    @property
    def memory_limit(self) -> str | None:
        """The memory limit of its pods; None if it has none, or was created by an earlier operator."""
        found = (self.manifest["metadata"].get("annotations") or {}).get(MEMORY_LIMIT)
        return None if found is None else str(found)

    @property
    def lacks_pods(self) -> bool:
        """Whether it should have a pod and has none, not even one that is terminating."""
        runs = not self.suspended and not self.finished
        return runs and not self.active and not self.status.get("terminating")


@dataclass(frozen=True)
class Deployment(Child):
    """The Deployment of the workers."""

    kind = "Deployment"

    @property
    def replicas(self) -> int:
        """Number of workers that it is set to."""
        return int(self.spec.get("replicas", 1))

    @property
    def pod_failure(self) -> Manifest | None:
        """The condition that says why no pods could be created; it lasts as long as the failure."""
        conditions = self.status.get("conditions") or ()
        return next((one for one in conditions if explains_missing_pods(one)), None)


@dataclass(frozen=True)
class Claim(Child):
    """The claim for the results. The scan does not own it, since results outlive the scan."""

    kind = "PersistentVolumeClaim"

    @property
    def bound(self) -> bool:
        """Whether it has its volume."""
        return bool(self.status.get("phase") == "Bound")

    @property
    def made_here(self) -> bool:
        """Whether an operator has created it for a scan, and not a user."""
        return SCAN_LABEL in (self.manifest["metadata"].get("labels") or {})

    @property
    def size(self) -> str:
        """The size that it asks for."""
        return str(((self.spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))


@dataclass(frozen=True)
class Children:
    """The objects that have the scan's names, whoever owns them. What does not exist is None."""

    config_map: ConfigMap | None = None
    deployment: Deployment | None = None
    claim: Claim | None = None
    jobs: Mapping[str, Job] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        uid: str,
        config_map: Manifest | None = None,
        deployment: Manifest | None = None,
        claim: Manifest | None = None,
        jobs: Mapping[str, Manifest | None] | None = None,
    ) -> Children:
        """Read the objects as the API server returns them, for the scan of this uid; ``jobs`` are keyed by role."""

        def owned(found: Manifest) -> bool:
            return any(owner.get("uid") == uid for owner in found["metadata"].get("ownerReferences") or ())

        return cls(
            config_map=None if config_map is None else ConfigMap(config_map, owned(config_map)),
            deployment=None if deployment is None else Deployment(deployment, owned(deployment)),
            claim=None if claim is None else Claim(claim, owned(claim)),
            jobs={role: Job(job, owned(job)) for role, job in (jobs or {}).items() if job is not None},
        )

    def owned_job(self, role: str) -> Job | None:
        """Return the Job of a role if it belongs to this scan."""
        job = self.jobs.get(role)
        return job if job is not None and job.owned else None

    def owned_deployment(self) -> Deployment | None:
        """Return the Deployment of the workers if it belongs to this scan."""
        return self.deployment if self.deployment is not None and self.deployment.owned else None

    def __iter__(self) -> Iterator[ConfigMap | Deployment | Job]:
        """Iterate over the objects that should belong to the scan: all but the claim."""
        found = (self.config_map, self.deployment, *(self.jobs.get(role) for role in JOB_ROLES))
        return (child for child in found if child is not None)

    def find(self, kind: str, name: str) -> Child | None:
        """Return the object of this kind and name."""
        return next((child for child in self if (child.kind, child.name) == (kind, name)), None)
