"""The names of what belongs to a scan: its objects in Kubernetes and its topics in Pulsar.

Names are functions of the scan's namespace and name alone, so that an operator that starts anew finds what an earlier
one made. Two scans never share a name: one that is too long, or holds dots, ends in a digest of itself, and so does one
that only looks as if it did.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields

GROUP, VERSION, KIND = "skymap.icecube.wisc.edu", "v1alpha1", "SkymapScan"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/topics"

#: Labels of every object of a scan: which scan it belongs to (`Names.base`), and its role.
SCAN_LABEL, COMPONENT_LABEL = f"{GROUP}/scan", "app.kubernetes.io/component"
#: Annotation with the scan's whole name, which may be too long for a label.
SCAN_NAME_ANNOTATION = f"{GROUP}/scan-name"

PRODUCER, COLLECTOR, SAVER, WORKER = "producer", "collector", "saver", "worker"
#: Roles that run once, as a Job each; in the order in which a failure of several is told.
JOB_ROLES = (PRODUCER, COLLECTOR, SAVER)

#: The subscriptions that must be there before anything is published.
WORKERS_SUBSCRIPTION, COLLECTOR_SUBSCRIPTION = "workers", "collector"

#: The namespaces of a tenant: for the scans' topics, and for the events' frames, which scans of one event share.
TOPICS_NAMESPACE, METADATA_NAMESPACE = "skymap", "skymap_metadata"

#: Job names end up in labels (63) and with six more characters in pod names; the longest ending of ours takes ten.
_LONGEST_BASE = 47
#: What the scanner takes as the name of a scan.
_LONGEST_SCAN = 200
_DIGEST = 10
_DIGESTED = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class NamespacedName:
    """A SkymapScan by its namespace and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Topics:
    """The full names of a scan's topics, as the scanner's roles make them of its name."""

    to_be_scanned: str
    scanned: str
    collected: str
    plan: str
    progress: str
    deaths: str

    @classmethod
    def of(cls, scan: str, tenant: str) -> Topics:
        """Name the topics of the scan that Pulsar knows as ``scan``."""
        return cls(
            **{field.name: f"persistent://{tenant}/{TOPICS_NAMESPACE}/{scan}-{field.name}" for field in fields(cls)}
        )

    def all(self) -> tuple[str, ...]:
        """Return all of them in the order in which they are deleted.

        Plan and progress come last: by them a deletion that was cut short finds the rest.
        """
        return (self.to_be_scanned, self.scanned, self.collected, self.deaths, self.plan, self.progress)

    def subscriptions(self, topic: str) -> tuple[str, ...]:
        """Return the subscriptions that a topic must have."""
        return {self.to_be_scanned: (WORKERS_SUBSCRIPTION,), self.scanned: (COLLECTOR_SUBSCRIPTION,)}.get(topic, ())


def metadata_base(tenant: str) -> str:
    """Return what the names of the topics with events' frames begin with; scans of one event share them."""
    return f"persistent://{tenant}/{METADATA_NAMESPACE}/mf_"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one scan's objects, all in its namespace.

    ``base``: its name as the objects' names begin with it, and the value of its label; ``scan``: its name in Pulsar.
    """

    base: str
    scan: str

    @classmethod
    def of(cls, namespace: str, name: str) -> Names:
        """Name what belongs to the SkymapScan ``name`` in ``namespace``."""
        return cls(
            base=name if _stays(name) and _LABEL.fullmatch(name) else _shortened(name, _LONGEST_BASE),
            scan=_scan_name(f"{namespace}.{name}"),
        )

    @property
    def config_map(self) -> str:
        """The ConfigMap with the scan."""
        return f"{self.base}-scan"

    @property
    def claim(self) -> str:
        """The claim for the results, where the user names none."""
        return f"{self.base}-results"

    @property
    def workers(self) -> str:
        """The Deployment of the workers."""
        return f"{self.base}-workers"

    def job(self, role: str) -> str:
        """Return the name of the Job of a role."""
        return f"{self.base}-{role}"


def _stays(name: str) -> bool:
    return len(name) <= _LONGEST_BASE and _DIGESTED.search(name) is None


def _scan_name(full: str) -> str:
    if len(full) <= _LONGEST_SCAN and _DIGESTED.search(full) is None:
        return full
    return f"{full[: _LONGEST_SCAN - _DIGEST - 1].rstrip('.-')}-{_digest(full)}"


def _shortened(name: str, limit: int) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", name)[: limit - _DIGEST - 1].strip("-")
    return f"{stem}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
