"""Selects the warnings of a namespace that explain why a scan does not proceed.

Kubernetes keeps an Event for an hour and repeats a warning ever more rarely, so its age says little. A warning counts
as long as its object still waits for something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skymap_api.resource.base import Manifest
from skymap_operator.observe.children import Children, Deployment
from skymap_operator.observe.state import ObservedWarning

#: The most warnings that are kept; the most serious is chosen among them.
MAX_WARNINGS = 20


def waiting_objects(children: Children, pods: Iterable[Manifest]) -> dict[tuple[str, str], str]:
    """Return the uids, by kind and name, of the objects that wait for something: only their warnings count."""
    waiting = {(job.kind, job.name): job.uid for job in children.jobs.values() if job.lacks_pods}
    waiting |= {("Pod", pod["metadata"]["name"]): pod["metadata"]["uid"] for pod in pods if _not_started(pod)}
    claim = children.claim
    if claim is not None and claim.pending:
        waiting[claim.kind, claim.name] = claim.uid
    return waiting


def current_warnings(
    events: Iterable[Manifest], children: Children, pods: Iterable[Manifest]
) -> tuple[ObservedWarning, ...]:
    """Return the warnings about objects that wait for something, the latest first, each once."""
    waiting = waiting_objects(children, pods).items()
    found = sorted((event for event in events if _subject(event) in waiting), key=_time, reverse=True)
    warnings = [
        ObservedWarning(
            f"{one['involvedObject']['kind']} {one['involvedObject']['name']}", one.get("reason", ""), one["message"]
        )
        for one in found
        if one.get("message")
    ]
    return (*_replica_failure(children.deployment), *dict.fromkeys(warnings))[:MAX_WARNINGS]


def _replica_failure(deployment: Deployment | None) -> tuple[ObservedWarning, ...]:
    """Return why the Deployment gets no pods. Its condition says so as long as the failure lasts."""
    failure = None if deployment is None else deployment.condition("ReplicaFailure")
    if deployment is None or failure is None:
        return ()
    name = f"{deployment.kind} {deployment.name}"
    return (ObservedWarning(name, failure.get("reason", ""), failure.get("message", "")),)


def _not_started(pod: Manifest) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase", "Pending") == "Pending"


def _subject(event: Manifest) -> tuple[tuple[str, str], str]:
    """Return the object of an event: kind and name, and uid."""
    subject: Mapping[str, Any] = event.get("involvedObject", {})
    return (subject.get("kind", ""), subject.get("name", "")), subject.get("uid", "")


def _time(event: Manifest) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), "")
