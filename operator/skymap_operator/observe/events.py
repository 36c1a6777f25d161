"""Which of a namespace's warnings still tell what is in a scan's way.

Kubernetes keeps an Event for an hour, and repeats a warning ever more rarely. So its age says little; it counts as long
as its object lacks what the warning is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skymap_api.resource.base import Manifest
from skymap_operator.observe.state import ObservedWarning

#: The most that are told of; the gravest is chosen among them.
MOST = 20


def waiting_objects(
    children: Mapping[tuple[str, str], Manifest], claim: Manifest | None, pods: Iterable[Manifest]
) -> dict[tuple[str, str], str]:
    """Return the uids, by kind and name, of objects that still wait for something: no other's warnings count."""
    waiting = {
        ("Job", name): child["metadata"]["uid"] for (kind, name), child in children.items() if _lacks_pods(kind, child)
    }
    waiting |= {("Pod", pod["metadata"]["name"]): pod["metadata"]["uid"] for pod in pods if _not_started(pod)}
    if claim is not None and claim.get("status", {}).get("phase") == "Pending":
        waiting["PersistentVolumeClaim", claim["metadata"]["name"]] = claim["metadata"]["uid"]
    return waiting


def current_warnings(
    events: Iterable[Manifest],
    children: Mapping[tuple[str, str], Manifest],
    claim: Manifest | None,
    pods: Iterable[Manifest],
) -> tuple[ObservedWarning, ...]:
    """Return the warnings about objects that still wait for something, the latest first."""
    waiting = waiting_objects(children, claim, pods)
    found = [event for event in events if _about(event) in waiting.items()]
    found.sort(key=_time, reverse=True)
    told = [
        ObservedWarning(
            f"{one['involvedObject']['kind']} {one['involvedObject']['name']}", one.get("reason", ""), one["message"]
        )
        for one in found
        if one.get("message")
    ]
    return (*_refused_workers(children), *dict.fromkeys(told))[:MOST]


def _refused_workers(children: Mapping[tuple[str, str], Manifest]) -> tuple[ObservedWarning, ...]:
    """Return why a Deployment gets no pods: it says so itself, as long as it is so."""
    return tuple(
        ObservedWarning(f"Deployment {name}", condition.get("reason", ""), condition.get("message", ""))
        for (kind, name), child in children.items()
        if kind == "Deployment"
        for condition in child.get("status", {}).get("conditions", ())
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    )


def _lacks_pods(kind: str, child: Manifest) -> bool:
    """Tell whether a Job should have a pod and has none."""
    if kind != "Job" or child["spec"].get("suspend"):
        return False
    status = child.get("status", {})
    over = any(
        one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in status.get("conditions", ())
    )
    return not over and not status.get("active") and not status.get("terminating")


def _not_started(pod: Manifest) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase", "Pending") == "Pending"


def _about(event: Manifest) -> tuple[tuple[str, str], str]:
    """Return the object of an event: kind, name and uid."""
    about: Mapping[str, Any] = event.get("involvedObject", {})
    return (about.get("kind", ""), about.get("name", "")), about.get("uid", "")


def _time(event: Manifest) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), "")
