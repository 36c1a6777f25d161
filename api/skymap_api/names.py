"""Names of a scan's objects in Kubernetes and of its topics in Pulsar.

Names depend only on the scan's namespace and name, so that a restarted operator finds the objects that it created
before. Two scans never share a name: a name that is too long or contains dots is shortened and ends in a digest, and a
name that already looks shortened gets a digest, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

GROUP, VERSION, KIND = "skymap.icecube.wisc.edu", "v1alpha1", "SkymapScan"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/topics"

#: Labels of every object of a scan: its scan (`Names.base`) and its role.
SCAN_LABEL, COMPONENT_LABEL = f"{GROUP}/scan", "app.kubernetes.io/component"
#: Annotation with the full name of the scan, which may be too long for a label.
SCAN_NAME_ANNOTATION = f"{GROUP}/scan-name"

PRODUCER, COLLECTOR, SAVER, WORKER = "producer", "collector", "saver", "worker"
#: Roles that run once, each as a Job. If several fail, the first of them is reported.
JOB_ROLES = (PRODUCER, COLLECTOR, SAVER)

#: Subscriptions that must exist before anything is published.
WORKERS_SUBSCRIPTION, COLLECTOR_SUBSCRIPTION = "workers", "collector"

#: Formats of a result, in the order in which they are written.
ResultFormat = Literal["json", "npz", "summary", "fits", "flat-fits", "geojson", "moc", "png", "report"]
RESULT_FORMATS: Final[tuple[ResultFormat, ...]] = get_args(ResultFormat)

#: Default tenant of the topics.
DEFAULT_TENANT = "icecube"
#: Namespaces of a tenant: for the topics of scans, and for their metadata topics, which hold the frames of the events.
#: Those of scans on a cluster are in `metadata_namespace`.
TOPICS_NAMESPACE, METADATA_NAMESPACE = "skymap", "skymap_metadata"

#: Maximum length of `Names.base`: the 63 characters of a label, less 6 for the suffix of a Job's pods and 10 for the
#: longest ending, ``-collector``.
MAX_BASE = 47
#: Longest name of a scan in Pulsar (characters).
MAX_SCAN_NAME = 200
_SCAN_NAME = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9._-]{{0,{MAX_SCAN_NAME - 2}}}[A-Za-z0-9])?")
_DIGEST = 10
#: SHA-256 of a frame, in which the name of its topic ends.
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_DIGESTED = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class NamespacedName:
    """A SkymapScan by its namespace and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def check_scan_name(name: str) -> str:
    """Return the name of a scan if topics and files can be named after it.

    Raises ValueError otherwise.
    """
    if _SCAN_NAME.fullmatch(name) is None:
        raise ValueError(
            f"scan name {name!r}: use at most {MAX_SCAN_NAME} letters, digits, '.', '-' and '_', a letter or digit "
            "first and last"
        )
    return name


def metadata_namespace(namespace: str | None = None) -> str:
    """Return the namespace in Pulsar for the metadata topics of a Kubernetes namespace, or of scans outside of one.

    Who may scan in one namespace of Kubernetes need not be allowed to read the events of another.
    """
    return METADATA_NAMESPACE if namespace is None else f"{METADATA_NAMESPACE}-{namespace}"


@dataclass(frozen=True, slots=True)
class TopicBases:
    """Base names of the topics: the name of a scan goes in front of the last part, except for ``metadata``.

    ``metadata`` is a prefix, which the name of the scan follows, and the checksum of a frame.
    """

    to_be_scanned: str = f"persistent://{DEFAULT_TENANT}/{TOPICS_NAMESPACE}/to_be_scanned"
    scanned: str = f"persistent://{DEFAULT_TENANT}/{TOPICS_NAMESPACE}/scanned"
    collected: str = f"persistent://{DEFAULT_TENANT}/{TOPICS_NAMESPACE}/collected"
    metadata: str = f"persistent://{DEFAULT_TENANT}/{METADATA_NAMESPACE}/mf_"

    @classmethod
    def of(cls, tenant: str, namespace: str | None = None) -> TopicBases:
        """Return the bases in a tenant's namespaces, for scans in a ``namespace`` of Kubernetes or for others."""
        topics = f"persistent://{tenant}/{TOPICS_NAMESPACE}"
        metadata = f"persistent://{tenant}/{metadata_namespace(namespace)}"
        return cls(f"{topics}/to_be_scanned", f"{topics}/scanned", f"{topics}/collected", f"{metadata}/mf_")


@dataclass(frozen=True, slots=True)
class ScanTopics:
    """The full names of one scan's topics, and the prefix of its metadata topics.

    A metadata topic holds one frame of the event, and ends in its checksum. No scan uses those of another, even of the
    same event: so a scan that is deleted cannot take a frame from one that begins.
    """

    to_be_scanned: str
    scanned: str
    collected: str
    crash_reports: str
    plan: str
    progress: str
    metadata: str

    @classmethod
    def of(cls, scan: str, bases: TopicBases | None = None) -> ScanTopics:
        """Name the topics of the scan.

        Raises ValueError if topics cannot be named after it; see `check_scan_name`.
        """
        bases = bases or TopicBases()
        check_scan_name(scan)

        def topic(base: str) -> str:
            namespace, slash, last = base.rpartition("/")
            return f"{namespace}{slash}{scan}-{last}"

        namespace = bases.to_be_scanned.rpartition("/")[0]
        return cls(
            to_be_scanned=topic(bases.to_be_scanned),
            scanned=topic(bases.scanned),
            collected=topic(bases.collected),
            crash_reports=topic(f"{namespace}/crash_reports"),
            plan=topic(f"{namespace}/plan"),
            progress=topic(f"{namespace}/progress"),
            metadata=f"{bases.metadata}{scan}-",
        )

    def all(self) -> tuple[str, ...]:
        """Return the scan's topics without its metadata topics."""
        return (self.to_be_scanned, self.scanned, self.collected, self.crash_reports, self.plan, self.progress)

    def frames(self, existing: Iterable[str]) -> tuple[str, ...]:
        """Return the scan's metadata topics among the ``existing`` topics."""
        names = (topic for topic in existing if topic.startswith(self.metadata))
        return tuple(sorted(name for name in names if _CHECKSUM.fullmatch(name, len(self.metadata))))

    def deletion(self, existing: Collection[str]) -> tuple[str, ...]:
        """Return all of the scan's topics among the ``existing`` ones, in the order in which they are deleted.

        Plan and progress come last, so that an interrupted deletion is seen and completed.
        """
        own = [topic for topic in self.all() if topic in existing]
        last = [topic for topic in own if topic in {self.plan, self.progress}]
        return (*(topic for topic in own if topic not in last), *self.frames(existing), *last)

    def subscriptions(self, topic: str) -> tuple[str, ...]:
        """Return the subscriptions that a topic must have before anything is published."""
        return {self.to_be_scanned: (WORKERS_SUBSCRIPTION,), self.scanned: (COLLECTOR_SUBSCRIPTION,)}.get(topic, ())


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one scan's objects, all in its namespace.

    ``namespace``: that of the scan; ``base``: what the objects' names begin with, and the value of the scan's label;
    ``scan``: its name in Pulsar.
    """

    namespace: str
    base: str
    scan: str

    @classmethod
    def of(cls, namespace: str, name: str) -> Names:
        """Return the names for a SkymapScan."""
        return cls(
            namespace=namespace,
            base=name if _stays(name, MAX_BASE) and _LABEL.fullmatch(name) else _shortened(name),
            scan=_scan_name(f"{namespace}.{name}"),
        )

    def topics(self, tenant: str) -> ScanTopics:
        """Return the scan's topics in a tenant."""
        return ScanTopics.of(self.scan, TopicBases.of(tenant, self.namespace))

    @property
    def config_map(self) -> str:
        """The ConfigMap with the manifest and the addresses of Pulsar."""
        return f"{self.base}-scan"

    @property
    def claim(self) -> str:
        """The claim for the results, unless the user names one."""
        return f"{self.base}-results"

    @property
    def workers(self) -> str:
        """The Deployment of the workers."""
        return f"{self.base}-workers"

    def job(self, role: str) -> str:
        """Return the name of the Job of a role."""
        return f"{self.base}-{role}"


def _stays(name: str, longest: int) -> bool:
    return len(name) <= longest and _DIGESTED.search(name) is None


def _scan_name(full: str) -> str:
    if _stays(full, MAX_SCAN_NAME):
        return full
    return f"{full[: MAX_SCAN_NAME - _DIGEST - 1].rstrip('.-')}-{_digest(full)}"


def _shortened(name: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", name)[: MAX_BASE - _DIGEST - 1].strip("-")
    return f"{stem}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
