"""Finds what obstructs a scan, as a typed reason and a sentence that says what to do.

Kubernetes gives many reasons only in the text of its messages. The patterns of these texts are in one table, with the
components that write them. A text that no pattern matches is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skymap_api.exit_codes import ExitCode
from skymap_api.names import COLLECTOR, PRODUCER, SAVER, WORKER
from skymap_api.pod_reasons import IMAGE_UNAVAILABLE
from skymap_api.resource.status import Reason
from skymap_api.text import printable, printable_line
from skymap_operator.observe.state import ObservedState, ObservedWarning, Pod, PulsarFault, PulsarState

#: Most lines and characters that are shown from the end of a pod's log.
_MAX_LINES, _MAX_CHARACTERS = 12, 1500

#: How the error messages of the scanner begin.
_ERRORS = ("Error: ", "Internal error")

#: Advice that follows the message of Kubernetes.
_ADVICE = {
    Reason.IMAGE_UNAVAILABLE: "check the image's name and the pull secrets",
    Reason.CLAIM_NOT_FOUND: "create the claim, or leave out output.claim.name for a new one",
    Reason.CLAIM_FULL: "free space on the claim or enlarge it; the saver tries again every few seconds",
    Reason.CLAIM_UNBOUND: "check the storage class and the volumes of the cluster",
    Reason.SECRET_NOT_FOUND: "create the Secret in the scan's namespace",
    Reason.CONFIG_MAP_NOT_FOUND: "create the ConfigMap in the scan's namespace",
    Reason.QUOTA_EXCEEDED: "the scan continues when the namespace's quota allows it: raise it, or lower workers.max",
    Reason.UNSCHEDULABLE: "the scan continues when a node has room: add nodes, or lower workers.resources",
    Reason.PODS_REJECTED: "the namespace's policies do not allow such a pod: check workers.podTemplate",
    Reason.OBJECTS_REJECTED: "check the operator's permissions in this namespace, and admission webhooks",
    Reason.OBJECTS_INVALID: "correct the field of the SkymapScan, or of the operator's settings, that it comes from",
}

#: Patterns with their reasons; the first that matches counts. Sources: scheduler (volumebinding, noderesources),
#: kubelet (volumes, container creation), quota and PodSecurity admission, namespace lifecycle admission.
_TEXTS = (
    (r"is being terminated|NamespaceTerminating", Reason.NAMESPACE_TERMINATING),
    (r"exceeded quota|forbidden: .*quota", Reason.QUOTA_EXCEEDED),
    (r"violates PodSecurity|podtemplate|priority ?class|serviceaccount .* not found", Reason.PODS_REJECTED),
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


def termination_message(pod: Pod) -> str:
    """Return the end of a pod's log, or how the pod ended if the log is empty.

    If the log ends in an error message, only that is returned.
    """
    if pod.termination is None:
        return ""
    lines = pod.termination.message.strip().splitlines()[-_MAX_LINES:]
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERRORS)]
    if errors:
        lines = lines[errors[-1] :]
    text = "\n".join(map(printable, lines))[-_MAX_CHARACTERS:]
    if text:
        return text
    if pod.termination.reason == "OOMKilled":
        return "it exceeded its memory limit; raise the limit"
    return f"it ended with exit code {pod.termination.code}"


def software_mismatch(pod: Pod) -> bool:
    """Return whether a pod ended because another version or likelihood has begun its scan."""
    return pod.termination is not None and pod.termination.code == ExitCode.OTHER_SOFTWARE


def find_obstacle(observed: ObservedState) -> Finding | None:
    """Return the most serious obstacle of the scan; None if there is none."""
    return next(_obstacles(observed), None)


def _obstacles(observed: ObservedState) -> Iterator[Finding]:
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
        yield _advised(
            Reason.CLAIM_FULL, f"saver: {printable_line(observed.pulsar.progress.obstacle)[:_MAX_CHARACTERS]}"
        )
    # A claim's own warning explains more than those of the pods that wait for the claim.
    claims = [warning for warning in observed.warnings if warning.object.startswith("PersistentVolumeClaim ")]
    yield from _from_warnings(claims)
    yield from _from_pods(observed.pods)
    yield from _from_warnings(observed.warnings)


def _from_warnings(warnings: Iterable[ObservedWarning]) -> Iterator[Finding]:
    for warning in warnings:
        if warning.reason in {Reason.PULSAR_UNAVAILABLE, Reason.PULSAR_REFUSED}:
            yield Finding(Reason(warning.reason), warning.message)
            continue
        if warning.reason == "Invalid":
            yield _advised(Reason.OBJECTS_INVALID, f"{warning.object}: {warning.message}")
            continue
        reason = _recognised(warning.message) or (Reason.OBJECTS_REJECTED if warning.reason == "Refused" else None)
        if reason is not None:
            yield _advised(reason, f"{warning.object}: {warning.message}")


def _from_pods(pods: Iterable[Pod]) -> Iterator[Finding]:
    # Producer, saver and collector come first: without one of them the scan stops; without a worker it is slower.
    order = [PRODUCER, SAVER, COLLECTOR, WORKER]
    live = sorted((pod for pod in pods if not pod.terminating and not pod.finished), key=lambda pod: pod.name)
    for pod in sorted(live, key=lambda pod: order.index(pod.role) if pod.role in order else len(order)):
        if pod.unschedulable is not None:
            reason = _recognised(pod.unschedulable) or Reason.UNSCHEDULABLE
            yield _advised(reason, f"{pod.name}: {pod.unschedulable}")
        if pod.waiting is not None and pod.waiting[0] in IMAGE_UNAVAILABLE:
            yield _advised(Reason.IMAGE_UNAVAILABLE, f"{pod.name}: {pod.waiting[1] or pod.waiting[0]}")
        elif pod.waiting is not None and (known := _recognised(pod.waiting[1])) is not None:
            yield _advised(known, f"{pod.name}: {pod.waiting[1]}")
        if pod.role == WORKER and not pod.ready and pod.waiting and pod.waiting[0] == "CrashLoopBackOff":
            if software_mismatch(pod):
                yield Finding(Reason.SOFTWARE_MISMATCH, f"{pod.name} fits nothing: {termination_message(pod)}")
            else:
                yield Finding(
                    Reason.WORKERS_CRASHING, f"{pod.name} has crashed {pod.restarts} times: {termination_message(pod)}"
                )


def _recognised(text: str) -> Reason | None:
    return next((reason for pattern, reason in _TEXTS if re.search(pattern, text, re.IGNORECASE)), None)


def _advised(reason: Reason, text: str) -> Finding:
    advice = _ADVICE.get(reason)
    return Finding(reason, text if advice is None else f"{text} - {advice}")
