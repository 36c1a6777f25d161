"""What a page shows of a SkymapScan: short texts and numbers, however long the resource is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from skymap_api.names import Names, ScanTopics
from skymap_api.resource.status import Condition, ConditionType, SkymapScanStatus
from skymap_api.text import bounded_line
from skymap_scanner.errors import ClusterError
from skymap_scanner.kubectl.scans import ClusterScan

#: Longest message of a condition, and longest advice in the list (characters): the message about a failed pod has the
#: last lines of its log.
MAX_MESSAGE, MAX_ADVICE = 600, 200
#: Most points of a scan's backlog over time; then every second one is dropped.
MAX_POINTS = 240


@dataclass(frozen=True, slots=True)
class ShownCondition:
    """A condition of a scan; its message says what to do."""

    type: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Pulsar:
    """The Pulsar of a scan: URLs of broker and admin interface, and the tenant of its topics."""

    service_url: str
    admin_url: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A SkymapScan. Numbers that the operator has not reported are None; angles in degrees, area in deg²."""

    namespace: str
    name: str
    uid: str
    phase: str
    finished: bool
    done: int | None = None
    planned: int | None = None
    failed: int | None = None
    ra: float | None = None
    dec: float | None = None
    area: float | None = None
    eta: datetime | None = None
    desired: int | None = None
    ready: int | None = None
    busy: int | None = None
    workers: str = ""
    backlog: int | None = None
    rate: float | None = None
    results: str = ""
    conditions: tuple[ShownCondition, ...] = ()
    pulsar: Pulsar | None = None

    @property
    def key(self) -> str:
        """The scan in addresses: a namespace has no dot."""
        return f"{self.namespace}.{self.name}"

    @property
    def advice(self) -> str:
        """What holds the scan up or made it fail, and what to do; empty if nothing."""
        for one in self.conditions:
            wrong = "False" if one.type == ConditionType.SUCCEEDED else "True"
            if one.type != ConditionType.PROGRESSING and one.status == wrong:
                return bounded_line(f"{one.reason}: {one.message}", MAX_ADVICE)
        return ""

    def topics(self, tenant: str) -> ScanTopics:
        """Return the scan's topics in a tenant."""
        return Names.of(self.namespace, self.name).topics(tenant)

    def seconds_left(self, now: datetime) -> float | None:
        """Return the time until the estimated end (s), None if it is not known or the scan does not run."""
        return None if self.eta is None or self.finished else max((self.eta - now).total_seconds(), 0.0)

    def as_values(self, now: datetime) -> dict[str, Any]:
        """Return what the page of the scan shows, as values for JSON."""
        shown = asdict(self) | {"advice": self.advice, "eta": self.seconds_left(now)}
        del shown["pulsar"]
        return shown


def read_resource(document: dict[str, Any]) -> Resource:
    """Read a SkymapScan as the API server sends it. A status of another version leaves all but its name empty."""
    meta = document["metadata"]
    try:
        scan = ClusterScan.read(document)
    except ClusterError as error:
        note = ShownCondition("Degraded", "True", "OtherVersion", bounded_line(str(error), MAX_MESSAGE), "")
        return Resource(meta["namespace"], meta["name"], meta["uid"], "Unknown", finished=False, conditions=(note,))
    return Resource(
        scan.namespace,
        scan.name,
        scan.uid,
        scan.phase,
        finished=scan.finished,
        eta=scan.status.eta,
        backlog=scan.status.backlog,
        rate=scan.status.rate,
        conditions=tuple(map(_shown, scan.status.conditions)),
        **_parts(scan.status),
    )


def _parts(status: SkymapScanStatus) -> dict[str, Any]:
    """Return the fields of a resource from those parts of its status that the operator has reported."""
    found: dict[str, Any] = {}
    if (pixels := status.pixels) is not None:
        found |= {"done": pixels.done, "planned": pixels.planned, "failed": pixels.failed}
    if (best := status.best) is not None:
        found |= {"ra": best.ra, "dec": best.dec, "area": best.area_90}
    if (workers := status.workers) is not None:
        why = bounded_line(workers.obstacle or workers.reason or "", MAX_MESSAGE)
        found |= {"desired": workers.desired, "ready": workers.ready, "busy": workers.busy, "workers": why}
    if (outputs := status.outputs) is not None:
        found["results"] = bounded_line(f"{outputs.path} of the claim {outputs.claim}", MAX_MESSAGE)
    if (runs := status.runs_with) is not None:
        found["pulsar"] = Pulsar(runs.service_url, runs.admin_url, runs.tenant)
    return found


def _shown(one: Condition) -> ShownCondition:
    since = f"{one.last_transition_time:%Y-%m-%d %H:%M:%S}"
    return ShownCondition(one.type, one.status, one.reason, bounded_line(one.message, MAX_MESSAGE), since)


class Backlog:
    """The backlog of a scan and its desired workers over time, as far as this process has seen it."""

    def __init__(self) -> None:
        self._times, self._waiting, self._desired = array("d"), array("q"), array("q")

    def __iter__(self) -> Iterator[tuple[float, int, int]]:
        """Yield time (s since 1970), waiting fits and desired workers."""
        return zip(self._times, self._waiting, self._desired, strict=True)

    def add(self, time: float, waiting: int, desired: int) -> None:
        """Add a point, unless nothing has changed."""
        if self._times and (self._waiting[-1], self._desired[-1]) == (waiting, desired):
            return
        self._times.append(time)
        self._waiting.append(waiting)
        self._desired.append(desired)
        if len(self._times) > MAX_POINTS:
            for column in (self._times, self._waiting, self._desired):
                del column[1:-1:2]
