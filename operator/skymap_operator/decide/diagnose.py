"""What is wrong, in a typed reason and a sentence that says what to do.

Kubernetes tells much of it only in the text of its messages. The texts that are looked for stand in one table, with the
component that writes them; one that is not recognised is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skymap_api.names import COLLECTOR, JOB_ROLES, PRODUCER, SAVER, WORKER, Names
from skymap_api.pod_reasons import IMAGE_UNAVAILABLE
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_api.text import printable, printable_line
from skymap_operator.observe.state import ObservedState, ObservedWarning, Pod, PulsarFault, PulsarState, job_condition

#: Of a pod's last words, so much is shown: the end of a log says why.
_LAST_LINES, _LAST_WORDS = 12, 1500

#: How the scanner's last words begin where it explains an error.
_ERRORS = ("Error: ", "Internal error")

#: What to do about it, behind what Kubernetes says.
_ADVICE = {
    Reason.IMAGE_UNAVAILABLE: "check the image's name and the pull secrets",
    Reason.CLAIM_NOT_FOUND: "make the claim, or leave out output.claim.name for a new one",
    Reason.CLAIM_FULL: "make room on the claim, or make it larger: the saver tries again every few seconds",
    Reason.CLAIM_UNBOUND: "check the storage class and the volumes of the cluster",
    Reason.SECRET_NOT_FOUND: "make the Secret in the scan's namespace",
    Reason.CONFIG_MAP_NOT_FOUND: "make the ConfigMap in the scan's namespace",
    Reason.QUOTA_EXCEEDED: "the scan goes on when the namespace's quota allows it: raise it, or lower workers.max",
    Reason.UNSCHEDULABLE: "the scan goes on when a node has room: add nodes, or ask for less in workers.resources",
    Reason.PODS_REFUSED: "the namespace's policies do not allow such a pod: check workers.podTemplate",
    Reason.OBJECTS_REFUSED: "check what the operator may do in this namespace",
}

#: (text, reason), the first that matches counts. Sources: scheduler (volumebinding, noderesources), kubelet (volumes,
#: container creation), quota and PodSecurity admission, namespace lifecycle admission.
_TEXTS = (
    (r"is being terminated|NamespaceTerminating", Reason.NAMESPACE_TERMINATING),
    (r"exceeded quota|forbidden: .*quota", Reason.QUOTA_EXCEEDED),
    (r"violates PodSecurity|podtemplate|priority ?class|serviceaccount .* not found", Reason.PODS_REFUSED),
    (r"persistentvolumeclaim \"?[^ ]+\"? not found", Reason.CLAIM_NOT_FOUND),
    (r"storageclass[^ ]* \"?[^ ]+\"? not found", Reason.CLAIM_UNBOUND),
    (r"unbound immediate PersistentVolumeClaims|bind(ing)? .*volume|provision", Reason.CLAIM_UNBOUND),
    (r"secrets? \"?[^ ]+\"? not found|references non-existent secret key", Reason.SECRET_NOT_FOUND),
    (r"configmaps? \"?[^ ]+\"? not found|references non-existent config key", Reason.CONFIG_MAP_NOT_FOUND),
)


@dataclass(frozen=True)
class Finding:
    """A reason and the sentence that goes with it."""

    reason: Reason
    message: str


def failure(observed: ObservedState) -> Finding | None:
    """Return why the scan cannot succeed any more; None while it can."""
    if observed.scan.spec is None:
        return Finding(Reason.INVALID_SPEC, f"the scan cannot be read: {observed.scan.invalid}")
    names = Names.of(observed.scan.namespace, observed.scan.name)
    for role in JOB_ROLES:
        job = observed.children.get(("Job", names.job(role)))
        if job is not None and owned(observed, job) and (found := job_condition(job, "Failed")) is not None:
            return _role_failed(observed, role, found)
    return _workers_failed(observed, observed.scan.spec.retries.role_restarts)


def owned(observed: ObservedState, child: Manifest) -> bool:
    """Tell whether an object belongs to this scan, and not to an earlier one of its name or to somebody else."""
    owners = child["metadata"].get("ownerReferences", ())
    return any(owner.get("uid") == observed.scan.uid for owner in owners)


def _role_failed(observed: ObservedState, role: str, condition: Manifest) -> Finding:
    if condition.get("reason") == "DeadlineExceeded":
        return Finding(Reason.DEADLINE_EXCEEDED, f"{role}: not done within activeDeadlineSeconds")
    ends = [pod for pod in observed.pods if pod.role == role and pod.ended is not None and pod.ended.code]
    words = last_words(ends[-1]) if ends else ""
    if not words:
        return Finding(Reason.ROLE_FAILED, f"{role} failed: {condition.get('message', condition.get('reason', ''))}")
    explained = ends[-1].ended is not None and ends[-1].ended.code == 1
    reason = _event_reason(observed, words) if role == PRODUCER and explained else Reason.ROLE_FAILED
    return Finding(reason, f"{role} failed: {words}")


def _event_reason(observed: ObservedState, words: str) -> Reason:
    """Tell an event that cannot be fetched from one that cannot be used, by what the scanner says of a download."""
    spec = observed.scan.spec
    if "the topic" in words or "another scan" in words.lower():
        return Reason.ROLE_FAILED
    fetched = spec is not None and spec.event.url is not None
    unreachable = (
        r"https?://[^ ]+: (\d{3}\b|.*\(attempts: |.*not finished after|Exceeded maximum|events may not be fetched)"
    )
    if fetched and re.search(unreachable, words):
        return Reason.EVENT_UNREACHABLE
    return Reason.EVENT_UNUSABLE


def _workers_failed(observed: ObservedState, restarts: int) -> Finding | None:
    """Tell whether every worker ends again and again with an error that it explains: more of them would too."""
    pods = [pod for pod in observed.pods if pod.role == WORKER and not pod.deleting]
    hopeless = [pod for pod in pods if not pod.ready and pod.restarts > restarts and _explained(pod)]
    if not pods or len(hopeless) < len(pods):
        return None
    return Finding(Reason.ROLE_FAILED, f"every worker failed: {last_words(hopeless[0])}")


def _explained(pod: Pod) -> bool:
    return pod.ended is not None and pod.ended.code in {1, 2}


def last_words(pod: Pod) -> str:
    """Return the end of a pod's log, of an error only this, or how the pod ended where it said nothing."""
    if pod.ended is None:
        return ""
    lines = pod.ended.message.strip().splitlines()[-_LAST_LINES:]
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERRORS)]
    if errors:
        lines = lines[errors[-1] :]
    text = "\n".join(map(printable, lines))[-_LAST_WORDS:]
    how = {"OOMKilled": "was ended for its use of memory: raise its limit"}.get(
        pod.ended.reason, f"ended with exit code {pod.ended.code}"
    )
    return text or how


def degraded(observed: ObservedState) -> Finding | None:
    """Return what is in the scan's way; None if all is as it should be. The gravest comes first."""
    return next(_degraded(observed), None)


def _degraded(observed: ObservedState) -> Iterator[Finding]:
    if isinstance(observed.pulsar, PulsarFault):
        yield Finding(observed.pulsar.reason, observed.pulsar.message)
    for (kind, name), child in sorted(observed.children.items()):
        if not owned(observed, child):
            yield Finding(
                Reason.NAME_TAKEN,
                f"{kind} {name} belongs to something else: the scan goes on when it is deleted",
            )
    spec = observed.scan.spec
    if spec is not None and spec.output.claim.name is not None and observed.claim is None:
        yield _advised(Reason.CLAIM_NOT_FOUND, f"there is no claim {spec.output.claim.name}")
    if observed.tls_keys is None:
        yield _advised(Reason.SECRET_NOT_FOUND, "the Secret with the certificates for Pulsar is not there")
    if isinstance(observed.pulsar, PulsarState) and observed.pulsar.progress and observed.pulsar.progress.obstacle:
        yield _advised(Reason.CLAIM_FULL, f"saver: {printable_line(observed.pulsar.progress.obstacle)[:_LAST_WORDS]}")
    # Of a claim that cannot be bound its own warning says more than that of the pods which wait for it.
    claims = [warned for warned in observed.warnings if warned.object.startswith("PersistentVolumeClaim ")]
    yield from _warned(claims)
    yield from _pods_degraded(observed.pods)
    yield from _warned(observed.warnings)


def _warned(warnings: Iterable[ObservedWarning]) -> Iterator[Finding]:
    for warned in warnings:
        if warned.reason in {Reason.PULSAR_UNAVAILABLE, Reason.PULSAR_REFUSED}:
            yield Finding(Reason(warned.reason), warned.message)
            continue
        reason = _recognised(warned.message) or (Reason.OBJECTS_REFUSED if warned.reason == "Refused" else None)
        if reason is not None:
            yield _advised(reason, f"{warned.object}: {warned.message}")


def _pods_degraded(pods: Iterable[Pod]) -> Iterator[Finding]:
    # Roles first: without them nothing moves, while a few workers less only take longer.
    order = [PRODUCER, SAVER, COLLECTOR, WORKER]
    live = sorted((pod for pod in pods if not pod.deleting and not pod.over), key=lambda pod: pod.name)
    for pod in sorted(live, key=lambda pod: order.index(pod.role) if pod.role in order else len(order)):
        if pod.unschedulable is not None:
            reason = _recognised(pod.unschedulable) or Reason.UNSCHEDULABLE
            yield _advised(reason, f"{pod.name}: {pod.unschedulable}")
        if pod.waiting is not None and pod.waiting[0] in IMAGE_UNAVAILABLE:
            yield _advised(Reason.IMAGE_UNAVAILABLE, f"{pod.name}: {pod.waiting[1] or pod.waiting[0]}")
        elif pod.waiting is not None and (known := _recognised(pod.waiting[1])) is not None:
            yield _advised(known, f"{pod.name}: {pod.waiting[1]}")
        if pod.role == WORKER and not pod.ready and pod.waiting and pod.waiting[0] == "CrashLoopBackOff":
            yield Finding(Reason.WORKERS_CRASHING, f"{pod.name} ended {pod.restarts} times: {last_words(pod)}")


def _recognised(text: str) -> Reason | None:
    return next((reason for pattern, reason in _TEXTS if re.search(pattern, text, re.IGNORECASE)), None)


def _advised(reason: Reason, text: str) -> Finding:
    advice = _ADVICE.get(reason)
    return Finding(reason, text if advice is None else f"{text} - {advice}")
