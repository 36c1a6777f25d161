"""Selects the warnings of a namespace that explain why a scan does not proceed.

Every Event of type Warning about an object of the scan counts, whatever its words, as long as what it says lacks still
lacks. Kubernetes keeps an Event for an hour and repeats a warning ever more rarely, so its age says little; what
its object has reached since then says more:

- a Job's warning is over when the Job has got a pod;
- a claim's warning is over when the claim is bound;
- a pod's warning is over when a container has started after it, or when the pod has passed the step of its start that
  the warning is about: `Step`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from skymap_api.names import WORKER
from skymap_api.pod_reasons import IMAGE_UNAVAILABLE, STARTING
from skymap_api.resource.base import Manifest
from skymap_operator.observe.children import Children, Deployment
from skymap_operator.observe.state import ObservedWarning, Pod, parse_time

#: The most warnings that are kept; the most serious is chosen among them.
MAX_WARNINGS = 20

#: Reason of the warning about a pod whose node no longer reports.
NODE_NOT_READY = "NodeNotReady"

#: Reasons of warnings that hold nothing up, or that the state of the pod itself says better: probes of a container that
#: runs, the pause before a container that ended is started again, policies that only audit, limits of name servers.
_HARMLESS = {"Unhealthy", "BackOff", "PolicyViolation", "DNSConfigForming"}

#: An object that a warning misses, by kind and name.
_MISSING = re.compile(r"(?i)\b(persistentvolumeclaim|configmap)s? \"?([a-z0-9.-]+)\"? not found")


class Step(IntEnum):
    """The steps of a pod's start, in their order: a pod at one has passed those before."""

    SCHEDULING = 0
    VOLUMES = 1
    SANDBOX = 2
    IMAGE = 3
    CONTAINER = 4


#: The step that a warning of the scheduler, the attach-detach controller or the kubelet is about, by its reason.
_STEPS = {
    "FailedScheduling": Step.SCHEDULING,
    "FailedAttachVolume": Step.VOLUMES,
    "FailedMount": Step.VOLUMES,
    "FailedMapVolume": Step.VOLUMES,
    "NetworkNotReady": Step.SANDBOX,
    "FailedCreatePodSandBox": Step.SANDBOX,
    "FailedPodSandBoxStatus": Step.SANDBOX,
    "FailedToRetrieveImagePullSecret": Step.IMAGE,
    "InspectFailed": Step.IMAGE,
    "ErrImageNeverPull": Step.IMAGE,
    "FailedPostStartHook": Step.CONTAINER,
}

#: Messages of the reason Failed that are about the image.
_IMAGE = re.compile("|".join(["Failed to pull image", *sorted(IMAGE_UNAVAILABLE)]))


def waiting_objects(children: Children, pods: Iterable[Pod]) -> dict[tuple[str, str], str]:
    """Return the uids, by kind and name, of the objects that lack something: only their warnings count."""
    pods = tuple(pods)
    waiting = {
        (job.kind, job.name): job.uid
        for role, job in children.jobs.items()
        if job.lacks_pods and not any(pod.role == role and pod.live for pod in pods)
    }
    deployment, claim = children.deployment, children.claim
    if deployment is not None and sum(pod.role == WORKER and pod.live for pod in pods) < deployment.replicas:
        waiting[deployment.kind, deployment.name] = deployment.uid
    if claim is not None and not claim.bound:
        waiting[claim.kind, claim.name] = claim.uid
    return waiting | {("Pod", pod.name): pod.uid for pod in pods if pod.starting or (pod.live and not pod.ready)}


def current_warnings(
    events: Iterable[Manifest], children: Children, pods: Iterable[Pod]
) -> tuple[ObservedWarning, ...]:
    """Return the warnings that still hold, the latest first, each once."""
    pods = tuple(pods)
    waiting = waiting_objects(children, pods)
    found: dict[tuple[str, str], list[Manifest]] = {}
    for event in sorted(events, key=_time, reverse=True):
        subject, uid = _subject(event)
        if waiting.get(subject) == uid and event.get("reason") not in _HARMLESS:
            found.setdefault(subject, []).append(event)
    current = [event for subject, about in found.items() for event in _current(subject, about, children, pods)]
    warnings = [_warning(event) for event in sorted(current, key=_time, reverse=True)]
    return (*_replica_failure(children.deployment), *dict.fromkeys(warnings))[:MAX_WARNINGS]


def _current(
    subject: tuple[str, str], events: Sequence[Manifest], children: Children, pods: Sequence[Pod]
) -> Iterator[Manifest]:
    """Yield those of one object's warnings, given the latest first, that still hold."""
    kind, name = subject
    if kind == "Pod":
        pod = next(pod for pod in pods if pod.name == name)
        events = list(_current_of_pod(events, pod))
    elif kind in {"Job", "Deployment"}:
        role = WORKER if kind == "Deployment" else next(role for role, job in children.jobs.items() if job.name == name)
        made = max((pod.created for pod in pods if pod.role == role and pod.created is not None), default=None)
        events = [event for event in events if not _before(event, made)]
    yield from (event for event in events if not _misses_existing(event, children))


def _current_of_pod(events: Sequence[Manifest], pod: Pod) -> Iterator[Manifest]:
    reached = _step_of_pod(pod)
    for event in events:
        if event.get("reason") == NODE_NOT_READY:
            if not pod.ready:
                yield event
            continue
        step = _step_of_event(event)
        if not pod.starting or _before(event, pod.last_started) or (step is not None and step < reached):
            continue
        # A later warning about a later step shows that the pod had passed the steps before.
        reached = reached if step is None else max(step, reached)
        yield event


def _step_of_pod(pod: Pod) -> Step:
    """Return the first step that the pod may still be at."""
    reason = "" if pod.waiting is None else pod.waiting[0]
    if reason in IMAGE_UNAVAILABLE:
        return Step.IMAGE
    if reason and reason not in STARTING:
        return Step.CONTAINER
    if pod.connected:
        return Step.IMAGE
    return Step.VOLUMES if pod.placed else Step.SCHEDULING


def _step_of_event(event: Manifest) -> Step | None:
    """Return the step that a warning is about; None if that is not known."""
    if event.get("reason") == "Failed":
        return Step.IMAGE if _IMAGE.search(event.get("message") or "") else Step.CONTAINER
    return _STEPS.get(event.get("reason", ""))


def _misses_existing(event: Manifest, children: Children) -> bool:
    """Return whether a warning misses an object of the scan that exists by now."""
    existing = {
        (child.kind.lower(), child.name) for child in (children.claim, children.config_map) if child is not None
    }
    missing = _MISSING.findall(event.get("message") or "")
    return bool(missing) and all((kind.lower(), name) in existing for kind, name in missing)


def _before(event: Manifest, time: datetime | None) -> bool:
    """Return whether a warning is not later than a time; both are exact to the second."""
    seen = _seen(event)
    return time is not None and seen is not None and seen.replace(microsecond=0) <= time


def _seen(event: Manifest) -> datetime | None:
    """Return the time of a warning; None if Python has no such time: who wrote it may have chosen the year 0."""
    try:
        return parse_time(_time(event) or None)
    except ValueError:
        return None


def _warning(event: Manifest) -> ObservedWarning:
    (kind, name), _ = _subject(event)
    return ObservedWarning.of(f"{kind} {name}", event.get("reason") or "", event.get("message") or "")


def _replica_failure(deployment: Deployment | None) -> tuple[ObservedWarning, ...]:
    """Return why the Deployment gets no pods. Its condition says so as long as the failure lasts."""
    failure = None if deployment is None else deployment.pod_failure
    if deployment is None or failure is None:
        return ()
    name = f"{deployment.kind} {deployment.name}"
    return (ObservedWarning.of(name, failure.get("reason") or "", failure.get("message") or ""),)


def _subject(event: Manifest) -> tuple[tuple[str, str], str]:
    """Return the object of an event: kind and name, and uid."""
    subject: Mapping[str, Any] = event.get("involvedObject", {})
    return (subject.get("kind", ""), subject.get("name", "")), subject.get("uid", "")


def _time(event: Manifest) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), "")
