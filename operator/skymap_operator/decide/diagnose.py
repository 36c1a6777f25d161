"""Finds what obstructs a scan, as a typed reason and a sentence that says what to do.

Everything that keeps a role from running is an obstacle, whatever Kubernetes calls it: a pod that is not created, has
no node, does not start, or is ended by its node. Kubernetes gives most causes only in the text of its messages;
`advice` knows many of these.

While workers work, one more that does not start is no obstacle but a `find_shortage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from skymap_api.exit_codes import ExitCode
from skymap_api.names import COLLECTOR, PRODUCER, SAVER, WORKER
from skymap_api.pod_reasons import CRASH_LOOP, STARTING
from skymap_api.resource.quantities import compare
from skymap_api.resource.status import Reason
from skymap_api.text import printable, printable_line
from skymap_operator.decide.advice import GENERAL, advise
from skymap_operator.observe.state import (
    INVALID,
    REFUSED,
    ObservedState,
    ObservedWarning,
    Pod,
    PulsarFault,
    PulsarState,
)

#: Most lines and characters that are shown from the end of a pod's log.
_MAX_LINES, _MAX_CHARACTERS = 12, 1500

#: How the error messages of the scanner begin.
_ERRORS = ("Error: ", "Internal error")

#: Age (s) from which on a pod that does not start counts. Before that volumes are bound and caches filled, which
#: Kubernetes reports as warnings, too.
_START_SECONDS = 10.0

#: Time (s) that a terminating pod may exceed its grace period before its node counts as lost.
_OVERDUE_SECONDS = 60.0

#: Pulsar's warnings, which have reasons of ours.
_PULSAR = {Reason.PULSAR_UNAVAILABLE, Reason.PULSAR_REFUSED}

#: Roles whose absence stops a scan, the most serious first; without a worker it is only slower.
_ESSENTIAL = (PRODUCER, SAVER, COLLECTOR)


@dataclass(frozen=True)
class Finding:
    """A reason and the sentence that goes with it.

    The sentence may quote text from outside: its control characters are escaped here.
    """

    reason: Reason
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True)
class _Candidate:
    """A finding about a role; a vague one counts if there is no other."""

    finding: Finding
    vague: bool = False


def termination_message(pod: Pod) -> str:
    """Return the end of a pod's log, or how the pod ended if the log is empty.

    If the log ends in an error message, only that is returned.
    """
    if pod.termination is None:
        return "" if pod.failure is None else ": ".join(filter(None, pod.failure))
    lines = pod.termination.message.strip().splitlines()[-_MAX_LINES:]
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERRORS)]
    if errors:
        lines = lines[errors[-1] :]
    text = "\n".join(map(printable, lines))[-_MAX_CHARACTERS:]
    if text:
        return text
    if pod.termination.reason == "OOMKilled":
        return "it exceeded its memory limit; raise the limit"
    if pod.failure is not None:
        return ": ".join(filter(None, pod.failure))
    return f"it ended with exit code {pod.termination.code}"


def software_mismatch(pod: Pod) -> bool:
    """Return whether a pod ended because another version or likelihood has begun its scan."""
    return pod.termination is not None and pod.termination.code == ExitCode.OTHER_SOFTWARE


def find_obstacle(observed: ObservedState) -> Finding | None:
    """Return the most serious obstacle of the scan; None if there is none."""
    return next(_obstacles(observed), None)


def find_shortage(observed: ObservedState) -> Finding | None:
    """Return why further workers do not start while others work; None if nothing keeps them, or none works."""
    return next(_about_role(observed, WORKER), None) if _workers_work(observed) else None


def _obstacles(observed: ObservedState) -> Iterator[Finding]:
    yield from _of_scan(observed)
    yield from _of_operator(observed.warnings)
    # A claim's own warning explains more than those of the pods that wait for the claim.
    for warning in observed.warnings:
        if warning.object.startswith("PersistentVolumeClaim "):
            yield _from_warning(warning).finding
    for role in _ESSENTIAL:
        yield from _about_role(observed, role)
    if not _workers_work(observed):
        yield from _about_role(observed, WORKER)
    yield from _crashing(observed.pods)
    if isinstance(observed.pulsar, PulsarState):
        faults = (observed.pulsar.progress_fault, observed.pulsar.plan_fault)
        yield from (_advised(Reason.MESSAGE_UNREADABLE, fault) for fault in faults if fault)


def _of_scan(observed: ObservedState) -> Iterator[Finding]:
    """Yield what obstructs the scan before any pod does."""
    if isinstance(observed.pulsar, PulsarFault):
        yield Finding(observed.pulsar.reason, observed.pulsar.message)
    for child in observed.children:
        if not child.owned:
            message = f"{child.kind} {child.name} has another owner: the scan continues when it is deleted"
            yield Finding(Reason.NAME_TAKEN, message)
    spec = observed.scan.spec
    if spec is not None and spec.output.claim.name is not None and observed.children.claim is None:
        yield _advised(Reason.CLAIM_NOT_FOUND, f"the claim {spec.output.claim.name} does not exist")
    if observed.tls_keys is None:
        yield _advised(Reason.SECRET_NOT_FOUND, "the Secret with the certificates for Pulsar does not exist")
    if isinstance(observed.pulsar, PulsarState) and observed.pulsar.progress and observed.pulsar.progress.obstacle:
        obstacle = printable_line(observed.pulsar.progress.obstacle)[:_MAX_CHARACTERS]
        yield _advised(Reason.CLAIM_FULL, f"saver: {obstacle}{_not_enlarged(observed)}")


def _not_enlarged(observed: ObservedState) -> str:
    """Return why a claim that the user wants larger is not; empty if nothing is known to refuse that."""
    refused, claim, spec = observed.refused_enlargement, observed.children.claim, observed.scan.spec
    if refused is None or claim is None or spec is None or spec.output.claim.size != refused.size:
        return ""
    if compare(refused.size, claim.size) <= 0:
        return ""
    return f"; the claim cannot be enlarged to {refused.size}: {refused.message}"


def _of_operator(warnings: Iterable[ObservedWarning]) -> Iterator[Finding]:
    """Yield which actions of the operator were refused."""
    for warning in warnings:
        if warning.reason in _PULSAR:
            yield Finding(Reason(warning.reason), warning.message)
        elif warning.reason == INVALID:
            yield _advised(Reason.OBJECTS_INVALID, f"{warning.object}: {warning.message}")
        elif warning.reason == REFUSED:
            known = advise(warning.reason, warning.message)
            reason = Reason.OBJECTS_REJECTED if known.reason is Reason.PODS_REJECTED else known.reason
            yield _with_advice(reason, f"{warning.object}: {warning.message}", known.text)


def _about_role(observed: ObservedState, role: str) -> Iterator[Finding]:
    """Yield what keeps the pods of a role from starting, the most specific obstacle first."""
    pods = sorted((pod for pod in observed.pods if pod.role == role), key=lambda pod: pod.name)
    found = [one for pod in pods if _counts(pod, observed) for one in _from_pod(pod, observed)]
    owners = _owners(observed, role)
    found += [_from_warning(one) for one in observed.warnings if one.object in owners and not _is_operators(one)]
    found += _ended_by_node(observed, role, pods)
    found += _overdue(observed, role, pods)
    yield from (one.finding for one in sorted(found, key=lambda one: one.vague))


def _owners(observed: ObservedState, role: str) -> frozenset[str]:
    """Return the objects that create the pods of a role, as warnings name them."""
    children = observed.children
    if role == WORKER:
        return frozenset() if children.deployment is None else frozenset({f"Deployment {children.deployment.name}"})
    job = children.jobs.get(role)
    return frozenset() if job is None else frozenset({f"Job {job.name}"})


def _is_operators(warning: ObservedWarning) -> bool:
    return warning.reason in {REFUSED, INVALID, *_PULSAR}


def _counts(pod: Pod, observed: ObservedState) -> bool:
    """Return whether a pod may be an obstacle: it has had time to start."""
    settled = pod.created is None or observed.now - pod.created >= timedelta(seconds=_START_SECONDS)
    return pod.live and settled


def _from_pod(pod: Pod, observed: ObservedState) -> Iterator[_Candidate]:
    """Yield what keeps a pod from starting: what its state says, then the current warnings about it."""
    if pod.unschedulable is not None and not _volume_bound_since(pod, observed):
        known = advise("FailedScheduling", pod.unschedulable)
        yield _candidate(known.reason, f"{pod.name}: {pod.unschedulable}", known.text, vague=known.vague)
    if pod.waiting is not None and pod.waiting[0] not in STARTING | {CRASH_LOOP}:
        reason, message = pod.waiting
        known = advise(reason, message or reason, Reason.CONTAINER_NOT_CREATED)
        yield _candidate(known.reason, f"{pod.name}: {message or reason}", known.text, vague=known.vague)
    for warning in observed.warnings:
        if warning.object == f"Pod {pod.name}" and not _is_operators(warning):
            yield _from_warning(warning)


def _volume_bound_since(pod: Pod, observed: ObservedState) -> bool:
    """Return whether the pod was not placed for want of a volume that its claim has got since.

    The scheduler tries again, but may wait for minutes. The saver has no claim but that for the results.
    """
    claim = observed.children.claim
    unbound = pod.unschedulable is not None and "unbound immediate PersistentVolumeClaims" in pod.unschedulable
    return unbound and pod.role == SAVER and claim is not None and claim.bound


def _from_warning(warning: ObservedWarning) -> _Candidate:
    known = advise(warning.reason, warning.message)
    text = ": ".join(filter(None, (warning.object, warning.reason, warning.message)))
    return _candidate(known.reason, text, known.text, vague=known.vague)


def _ended_by_node(observed: ObservedState, role: str, pods: list[Pod]) -> Iterator[_Candidate]:
    """Yield why nodes evicted or refused pods of a role, the latest first, until others have started after them."""
    started = [pod for pod in pods if pod.live and pod.started is not None]
    if role == WORKER:
        deployment = observed.children.deployment
        enough = deployment is None or len(started) >= deployment.replicas
    else:
        job = observed.children.jobs.get(role)
        enough = bool(started) or job is None or job.finished or job.suspended
    if enough:
        return
    newest = max((pod.created for pod in started if pod.created is not None), default=None)
    failed = [(pod, pod.failure) for pod in pods if pod.failure is not None]
    failed = [(pod, why) for pod, why in failed if newest is None or pod.created is None or pod.created > newest]
    for pod, (reason, message) in sorted(failed, key=lambda one: str(one[0].created), reverse=True):
        known = advise(reason, message, Reason.POD_EVICTED)
        yield _candidate(known.reason, ": ".join(filter(None, (pod.name, reason, message))), known.text)


def _overdue(observed: ObservedState, role: str, pods: list[Pod]) -> Iterator[_Candidate]:
    """Yield pods that should have ended long ago: a Job starts no other before, and only their node can report the end.

    Workers are replaced at once.
    """
    if role == WORKER or any(pod.live for pod in pods):
        return
    for pod in pods:
        if not pod.terminating or pod.finished or pod.ends is None:
            continue
        if observed.now - pod.ends >= timedelta(seconds=_OVERDUE_SECONDS):
            text = f"{pod.name} should have ended at {pod.ends:%H:%M:%S} UTC, but its node does not report it"
            yield _Candidate(_advised(Reason.NODE_NOT_READY, text))


def _crashing(pods: Iterable[Pod]) -> Iterator[Finding]:
    for pod in sorted(pods, key=lambda pod: pod.name):
        if pod.role == WORKER and pod.live and not pod.ready and pod.waiting and pod.waiting[0] == CRASH_LOOP:
            if software_mismatch(pod):
                yield Finding(Reason.SOFTWARE_MISMATCH, f"{pod.name} fits nothing: {termination_message(pod)}")
                continue
            message = f"{pod.name} has crashed {pod.restarts} times: {termination_message(pod)}"
            yield Finding(Reason.WORKERS_CRASHING, message)


def _workers_work(observed: ObservedState) -> bool:
    return any(pod.role == WORKER and pod.ready and pod.live for pod in observed.pods)


def _candidate(reason: Reason, text: str, advice: str, *, vague: bool = False) -> _Candidate:
    return _Candidate(_with_advice(reason, text, advice), vague)


def _advised(reason: Reason, text: str) -> Finding:
    return _with_advice(reason, text, GENERAL.get(reason, ""))


def _with_advice(reason: Reason, text: str, advice: str) -> Finding:
    return Finding(reason, f"{text} - {advice}" if advice else text)
