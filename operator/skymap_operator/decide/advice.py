"""What is known of the messages of Kubernetes: the reason that they stand for, and what to do.

The table only chooses reason and advice. A message that it does not hold is an obstacle all the same, and is shown as
it is. Sources: messages of scheduler (volumebinding, noderesources, tainttoleration), kubelet (volumes, sandbox,
images, containers, eviction), attach-detach controller, admission (quota, LimitRanger, PodSecurity, policies, webhooks)
and containerd, in their code and in public reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skymap_api.pod_reasons import IMAGE_UNAVAILABLE
from skymap_api.resource.status import Reason


@dataclass(frozen=True)
class Advice:
    """The reason that a message stands for, and what to do about it; ``vague``: another message may say more."""

    reason: Reason
    text: str = ""
    vague: bool = False


def _general(reason: Reason, *, vague: bool = False) -> Advice:
    return Advice(reason, GENERAL[reason], vague)


#: Advice for each reason that the operator finds itself, and for messages of which no more is known.
GENERAL = {
    Reason.IMAGE_UNAVAILABLE: "check the image's name and the pull secrets",
    Reason.CLAIM_NOT_FOUND: "create the claim, or leave out output.claim.name for a new one",
    Reason.CLAIM_FULL: "free space on the claim or enlarge it (output.claim.size); the saver tries again "
    "every few seconds",
    Reason.CLAIM_UNBOUND: "check the storage class and the volumes of the cluster; a claim without a volume can be "
    "deleted, and is created again as output.claim says",
    Reason.SECRET_NOT_FOUND: "create the Secret in the scan's namespace",
    Reason.CONFIG_MAP_NOT_FOUND: "create the ConfigMap in the scan's namespace",
    Reason.QUOTA_EXCEEDED: "the scan continues when the namespace's quota allows it: raise it, or lower workers.max",
    Reason.UNSCHEDULABLE: "the scan continues when a node has room: add nodes, or lower workers.resources",
    Reason.PODS_REJECTED: "the namespace's policies do not allow such a pod: check podTemplate and workers.podTemplate",
    Reason.OBJECTS_REJECTED: "check the operator's permissions in this namespace, and admission webhooks",
    Reason.OBJECTS_INVALID: "correct the field of the SkymapScan, or of the operator's settings, that it comes from",
    Reason.WEBHOOK_UNAVAILABLE: "restore the service of this admission webhook, or exempt the namespace from it",
    Reason.VOLUME_NOT_MOUNTED: "check the volume, its server, and the storage driver of the node",
    Reason.SANDBOX_NOT_CREATED: "check the network plugin and the container runtime of the node",
    Reason.CONTAINER_NOT_CREATED: "check that the image is one of the scanner's, and podTemplate",
    Reason.POD_EVICTED: "the scan continues when a node keeps the pod: free resources of the nodes, or add nodes",
    Reason.MESSAGE_UNREADABLE: "the scan continues, and what the message says is unknown until the next one; a role of "
    "another version may have written it, or whoever else has a token for this topic",
    Reason.NODE_NOT_READY: "restore the node, or delete it from the cluster: until then a Job waits for its pod",
}

_LIMITS = "let the namespace's LimitRange allow it, or change workers.resources or the chart's settings.roleResources"
_POLICY = "satisfy the policy that the message names, for example by labels in podTemplate, or exempt the scans' pods"
_TAINTS = "add nodes without these taints, or tolerations of them to podTemplate"
_DISK = "free disk space on the nodes, or add nodes"
_PULL = r"(failed to pull|pulling image|resolve reference)"

#: Patterns of ``reason: message``; the first that matches counts.
_MESSAGES: tuple[tuple[str, Advice], ...] = (
    (r"is being terminated|NamespaceTerminating", Advice(Reason.NAMESPACE_TERMINATING)),
    # admission
    (
        r"failed calling (admission )?webhook|failed to call webhook",
        _general(Reason.WEBHOOK_UNAVAILABLE),
    ),
    (
        r"quota: .*must specify",
        Advice(
            Reason.QUOTA_EXCEEDED,
            "the namespace's quota wants these values of every pod: set workers.resources and the chart's "
            "settings.roleResources, or a LimitRange with defaults",
        ),
    ),
    (r"exceeded quota|forbidden: .*quota", _general(Reason.QUOTA_EXCEEDED)),
    (
        r"usage per PersistentVolumeClaim is",
        Advice(Reason.OBJECTS_REJECTED, "let the namespace's LimitRange allow it, or choose another output.claim.size"),
    ),
    (
        r"only dynamically provisioned pvc can be resized",
        Advice(
            Reason.OBJECTS_REJECTED,
            "the scan goes on with the claim as it is: set output.claim.size back, or let its storage class allow "
            "expansion",
        ),
    ),
    (
        r"usage per (Container|Pod) is|max limit to request ratio per|must be less than or equal to [\w-]+ limit",
        Advice(Reason.PODS_REJECTED, _LIMITS),
    ),
    (
        r"security context constraint",
        Advice(
            Reason.PODS_REJECTED,
            "set the chart's settings.podTemplate.securityContext to null, which leaves the ids to the namespace, or "
            "let the pods' service account use a SecurityContextConstraint that allows them, such as nonroot-v2",
        ),
    ),
    (
        r"ValidatingAdmissionPolicy .*denied request|admission webhook .*denied the request",
        Advice(Reason.PODS_REJECTED, _POLICY),
    ),
    (
        r"violates PodSecurity|podtemplate|priority ?class|runtimeclass|service ?account .*not found",
        _general(Reason.PODS_REJECTED),
    ),
    # claims and volumes
    (
        r"persistentvolumeclaim \"?[^ ]+\"? (not found|is being deleted)",
        _general(Reason.CLAIM_NOT_FOUND),
    ),
    (r"storageclass[^ ]* \"?[^ ]+\"? not found|failed to provision", _general(Reason.CLAIM_UNBOUND)),
    (r"unbound immediate PersistentVolumeClaims|non-existent persistentvolume", _general(Reason.CLAIM_UNBOUND)),
    (r"bind(ing)? .*volume|persistent volumes to bind", _general(Reason.CLAIM_UNBOUND)),
    (
        r"Multi-Attach error|volume .*already (attached|used|exclusively)",
        Advice(
            Reason.VOLUME_NOT_MOUNTED,
            "the volume is in use on another node: wait for the pods there to end, or use a claim that several nodes "
            "may mount (ReadWriteMany)",
        ),
    ),
    (
        r"volume node affinity conflict",
        Advice(
            Reason.UNSCHEDULABLE,
            "the claim's volume is on another node or in another zone: make room there, or use another claim",
        ),
    ),
    (
        r"secrets? \"?[^ ]+\"? not found|references non-existent secret key|couldn't find key .* in secret",
        _general(Reason.SECRET_NOT_FOUND),
    ),
    (
        r"configmaps? \"?[^ ]+\"? not found|references non-existent config key|couldn't find key .* in configmap",
        _general(Reason.CONFIG_MAP_NOT_FOUND),
    ),
    (
        r"not found in the list of registered CSI drivers",
        Advice(Reason.VOLUME_NOT_MOUNTED, "start the driver of this storage on the node"),
    ),
    (
        r"unmounted volumes=|unattached/unmounted volumes=|list of unmounted volumes=",
        _general(Reason.VOLUME_NOT_MOUNTED, vague=True),
    ),
    # images
    (r"unable to retrieve some image pull secrets", _general(Reason.SECRET_NOT_FOUND, vague=True)),
    (
        r"toomanyrequests|429 too many requests|pull rate limit|pull QPS exceeded",
        Advice(
            Reason.IMAGE_UNAVAILABLE,
            "the registry limits pulls: wait, pull with an account (imagePullSecrets in settings.podTemplate of the "
            "chart), or mirror the image",
        ),
    ),
    (
        r"no matching manifest|no match for platform",
        Advice(Reason.IMAGE_UNAVAILABLE, "build the image for the processors of the nodes"),
    ),
    (rf"{_PULL}.*no space left on device", Advice(Reason.IMAGE_UNAVAILABLE, _DISK)),
    (
        rf"{_PULL}.*(unauthorized|authentication required|access denied|authorization failed|403 forbidden|no basic)",
        Advice(Reason.IMAGE_UNAVAILABLE, "check the image's name, and give the pods a pull secret that may read it"),
    ),
    (
        rf"{_PULL}.*(no such host|dial (tcp|udp)|i/o timeout|x509|TLS handshake|deadline exceeded)",
        Advice(
            Reason.IMAGE_UNAVAILABLE,
            "check the image's name; the nodes must reach its registry and trust its certificate",
        ),
    ),
    (
        r"^\w+: (Error: )?(ErrImagePull|ImagePullBackOff)$|: Back-off pulling image \"?[^\" ]*\"?$",
        _general(Reason.IMAGE_UNAVAILABLE, vague=True),
    ),
    # sandboxes and containers
    (
        r"^FailedCreatePodSandBox: .*(\bIPs?\b|\baddress)",
        Advice(
            Reason.SANDBOX_NOT_CREATED,
            "the pod network gave no address: let other pods end, or give the network more addresses",
        ),
    ),
    (
        r"^\w+: .*(runAsNonRoot and image|non-root policy)",
        Advice(
            Reason.CONTAINER_NOT_CREATED,
            "the image would run as root: use the scanner's image, or set a numeric user other than 0",
        ),
    ),
    (
        r"executable file not found|no command specified|exec format error",
        Advice(Reason.CONTAINER_NOT_CREATED, "the image does not hold the scanner for this processor: check its name"),
    ),
    # nodes
    (r"Insufficient |Too many pods", _general(Reason.UNSCHEDULABLE)),
    (r"taint.*disk-pressure", Advice(Reason.UNSCHEDULABLE, _DISK)),
    (r"untolerated taint|had taint|taints? .*didn't tolerate", Advice(Reason.UNSCHEDULABLE, _TAINTS)),
    (
        r"didn't match (Pod's )?(node (affinity|selector)|pod (anti-)?affinity|pod topology spread)",
        Advice(Reason.UNSCHEDULABLE, "label nodes as the message asks, or change podTemplate and workers.podTemplate"),
    ),
    (
        r"scheduling gates",
        Advice(Reason.UNSCHEDULABLE, "the scan continues when the queue of the cluster, such as Kueue, admits the pod"),
    ),
    (
        r"low on resource: memory|MemoryPressure",
        Advice(Reason.POD_EVICTED, "raise the memory requests of the pods to what they use, or add nodes"),
    ),
    (
        r"low on resource: (ephemeral-storage|inodes)|ephemeral local storage usage|EmptyDir volume|DiskPressure",
        Advice(Reason.POD_EVICTED, _DISK),
    ),
)

#: Advice by the reason of an Event, a waiting container or a failed pod, for messages that are not in the table.
_REASONS = {
    "FailedScheduling": Reason.UNSCHEDULABLE,
    "FailedMount": Reason.VOLUME_NOT_MOUNTED,
    "FailedMapVolume": Reason.VOLUME_NOT_MOUNTED,
    "FailedAttachVolume": Reason.VOLUME_NOT_MOUNTED,
    "ProvisioningFailed": Reason.CLAIM_UNBOUND,
    "ClaimLost": Reason.CLAIM_UNBOUND,
    "VolumeMismatch": Reason.CLAIM_UNBOUND,
    "NetworkNotReady": Reason.SANDBOX_NOT_CREATED,
    "FailedCreatePodSandBox": Reason.SANDBOX_NOT_CREATED,
    "InspectFailed": Reason.IMAGE_UNAVAILABLE,
    "CreateContainerConfigError": Reason.CONTAINER_NOT_CREATED,
    "CreateContainerError": Reason.CONTAINER_NOT_CREATED,
    "RunContainerError": Reason.CONTAINER_NOT_CREATED,
    "NodeNotReady": Reason.NODE_NOT_READY,
    "Evicted": Reason.POD_EVICTED,
    "Refused": Reason.OBJECTS_REJECTED,
} | dict.fromkeys(IMAGE_UNAVAILABLE, Reason.IMAGE_UNAVAILABLE)

_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in _MESSAGES)


def advise(reason: str, message: str, otherwise: Reason = Reason.KUBERNETES_WARNING) -> Advice:
    """Return the advice for a message of Kubernetes and the reason that came with it.

    ``otherwise``: the reason of a message of which nothing is known.
    """
    text = f"{reason}: {message}"
    known = next((advice for pattern, advice in _COMPILED if pattern.search(text)), None)
    if known is not None:
        return known
    found = _REASONS.get(reason)
    if found is None and reason == "Failed":
        found = Reason.IMAGE_UNAVAILABLE if message.startswith("Failed to pull") else Reason.CONTAINER_NOT_CREATED
    if found is None and reason == "FailedCreate" and (refused := re.search(r" is (forbidden|invalid)", message)):
        found = Reason.OBJECTS_INVALID if refused[1] == "invalid" else Reason.PODS_REJECTED
    found = found or otherwise
    return Advice(found, GENERAL.get(found, ""))
