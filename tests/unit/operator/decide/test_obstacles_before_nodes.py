"""Obstacles in the words of admission and the scheduler: every warning is one, and the known ones have advice.

The messages are those of Kubernetes 1.25 to 1.34 and of its plug-ins, from their code and from public reports; names
are shortened. Each goes the whole way from the objects of the API to the condition.
"""

from __future__ import annotations

import pytest
from tests.unit.operator.api_objects import NAMES, Resource, event, find, pod, running, unplaced
from tests.unit.operator.world import NAME

from skymap_api.resource.status import Reason


def creating(message: str, reason: str = "FailedCreate") -> Resource:
    return event("Job", NAMES.job("producer"), reason, f"Error creating: {message}")


FORBIDDEN = f'pods "{NAME}-producer-x" is forbidden: '
LIMITED = FORBIDDEN + (
    "[minimum cpu usage per Container is 200m, but request is 100m, maximum memory usage per Container is 1Gi, but "
    "limit is 2Gi]"
)
WEBHOOK = "Internal error occurred: failed calling webhook "
SCC = FORBIDDEN + (
    'unable to validate against any security context constraint: [provider "anyuid": Forbidden: not usable by user or '
    "serviceaccount, provider restricted-v2: .containers[0].runAsUser: Invalid value: 1000: must be in the ranges: "
    "[1000660000, 1000669999]]"
)


@pytest.mark.parametrize(
    ("message", "reason", "advice"),
    [
        (LIMITED, Reason.PODS_REJECTED, "LimitRange"),
        (FORBIDDEN + "maximum cpu usage per Pod is 4, but limit is 8", Reason.PODS_REJECTED, "LimitRange"),
        (
            (
                'Pod "x" is invalid: spec.containers[0].resources.requests: Invalid value: "512Mi": must be less than '
                "or equal to memory limit of 256Mi"
            ),
            Reason.PODS_REJECTED,
            "LimitRange",
        ),
        (
            FORBIDDEN + "exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2",
            Reason.QUOTA_EXCEEDED,
            "raise it",
        ),
        (FORBIDDEN + "failed quota: q: must specify limits.cpu for: worker", Reason.QUOTA_EXCEEDED, "with defaults"),
        (
            FORBIDDEN
            + "ValidatingAdmissionPolicy 'require-team' with binding 'require-team' denied request: every pod needs "
            "the label team",
            Reason.PODS_REJECTED,
            "satisfy the policy",
        ),
        (
            (
                'admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/alerts/ was blocked '
                "due to the following policies require-team-label: label team is required"
            ),
            Reason.PODS_REJECTED,
            "satisfy the policy",
        ),
        (
            (
                'admission webhook "validation.gatekeeper.sh" denied the request: [userpodlimits] container <producer> '
                "has no cpu limit"
            ),
            Reason.PODS_REJECTED,
            "satisfy the policy",
        ),
        (
            WEBHOOK + '"pod.example.io": failed to call webhook: Post "https://x": context deadline exceeded',
            Reason.WEBHOOK_UNAVAILABLE,
            "restore the service",
        ),
        (
            WEBHOOK + '"mpod.kb.io": Post "https://x.svc:443/mutate": no endpoints available for service "x"',
            Reason.WEBHOOK_UNAVAILABLE,
            "restore the service",
        ),
        (
            WEBHOOK + '"x.istio.io": Post "https://x": x509: certificate has expired or is not yet valid',
            Reason.WEBHOOK_UNAVAILABLE,
            "restore the service",
        ),
        (
            'Internal error occurred: failed calling admission webhook "sidecar-injector.istio.io": Post https://x',
            Reason.WEBHOOK_UNAVAILABLE,
            "exempt the namespace",
        ),
        (SCC, Reason.PODS_REJECTED, "settings.podTemplate.securityContext to null"),
        (
            FORBIDDEN + 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod must set '
            "securityContext.runAsNonRoot=true)",
            Reason.PODS_REJECTED,
            "workers.podTemplate",
        ),
        (
            FORBIDDEN + 'error looking up service account alerts/late: serviceaccount "late" not found',
            Reason.PODS_REJECTED,
            "workers.podTemplate",
        ),
        (FORBIDDEN + "no PriorityClass with name urgent was found", Reason.PODS_REJECTED, "workers.podTemplate"),
        (FORBIDDEN + 'pod rejected: RuntimeClass "kata" not found', Reason.PODS_REJECTED, "workers.podTemplate"),
        (FORBIDDEN + "a plug-in that nobody has heard of", Reason.PODS_REJECTED, "policies"),
        (
            'Pod "x" is invalid: spec.tolerations[0].effect: Invalid value: "NoSchedule"',
            Reason.OBJECTS_INVALID,
            "correct the field of the SkymapScan",
        ),
        ("etcdserver: request timed out", Reason.KUBERNETES_WARNING, "Error creating: etcdserver: request timed out"),
        ("", Reason.KUBERNETES_WARNING, "FailedCreate: Error creating:"),
    ],
)
def test_pod_that_is_never_created_is_an_obstacle(message: str, reason: Reason, advice: str) -> None:
    found, _ = find(creating(message))
    assert found is not None
    assert found.reason is reason
    assert found.message.startswith(f"Job {NAMES.job('producer')}: FailedCreate: Error creating:")
    assert advice in found.message
    assert find(creating(message), pods=(pod("producer", created=70, **running(75)),))[0] is None


NODES = "0/3 nodes are available: "


@pytest.mark.parametrize(
    ("message", "reason", "advice"),
    [
        (NODES + "3 Insufficient cpu. preemption: 0/3 nodes are available", Reason.UNSCHEDULABLE, "add nodes"),
        (NODES + "3 Too many pods.", Reason.UNSCHEDULABLE, "add nodes"),
        (
            NODES + "1 Insufficient cpu, 2 node(s) had untolerated taint {dedicated: gpu}.",
            Reason.UNSCHEDULABLE,
            "when a node has room",
        ),
        (NODES + "3 node(s) had untolerated taint {dedicated: gpu}.", Reason.UNSCHEDULABLE, "tolerations"),
        (
            NODES + "3 node(s) had taint {node-role.kubernetes.io/master: }, that the pod didn't tolerate.",
            Reason.UNSCHEDULABLE,
            "tolerations",
        ),
        (
            NODES + "3 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
            Reason.UNSCHEDULABLE,
            "free disk space",
        ),
        (NODES + "3 node(s) had volume node affinity conflict.", Reason.UNSCHEDULABLE, "another zone"),
        (NODES + "3 node(s) didn't match Pod's node affinity/selector.", Reason.UNSCHEDULABLE, "label nodes"),
        (NODES + "3 node(s) didn't match pod anti-affinity rules.", Reason.UNSCHEDULABLE, "label nodes"),
        (NODES + "pod has unbound immediate PersistentVolumeClaims.", Reason.CLAIM_UNBOUND, "storage class"),
        (
            NODES + "3 node(s) didn't find available persistent volumes to bind.",
            Reason.CLAIM_UNBOUND,
            "storage class",
        ),
        ('persistentvolumeclaim "data" not found', Reason.CLAIM_NOT_FOUND, "create the claim"),
        ('persistentvolumeclaim "data" is being deleted', Reason.CLAIM_NOT_FOUND, "create the claim"),
        ("no nodes available to schedule pods", Reason.UNSCHEDULABLE, "add nodes"),
        (NODES + "3 something of a scheduler plug-in", Reason.UNSCHEDULABLE, "add nodes"),
    ],
)
def test_pod_without_a_node_is_an_obstacle(message: str, reason: Reason, advice: str) -> None:
    found, _ = find(pods=(pod("producer", **unplaced(message)),))
    assert found is not None
    assert found.reason is reason
    assert found.message.startswith(f"{NAME}-producer-x: {message}")
    assert advice in found.message


@pytest.mark.parametrize(
    ("reason", "message", "shown", "advice"),
    [
        ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", "scheduling gates", "Kueue"),
        ("SchedulerError", "running PreBind plugin: it panicked", "it panicked", "when a node has room"),
        ("SomethingNew", "", "SomethingNew", "when a node has room"),
    ],
)
def test_pod_without_a_node_for_any_reason_is_an_obstacle(reason: str, message: str, shown: str, advice: str) -> None:
    found, _ = find(pods=(pod("saver", **unplaced(message, reason)),))
    assert found is not None
    assert found.reason is Reason.UNSCHEDULABLE
    assert shown in found.message
    assert advice in found.message
