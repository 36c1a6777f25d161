"""Obstacles in the words of nodes and volumes: every warning is one, and the known ones have advice.

The messages are those of Kubernetes 1.25 to 1.34 and of its plug-ins, from their code and from public reports; names
are shortened. Each goes the whole way from the objects of the API to the condition.
"""

from __future__ import annotations

import pytest
from tests.unit.operator.api_objects import NAMES, Resource, event, find, pod, running, waiting
from tests.unit.operator.world import NAME

from skymap_api.resource.status import Reason

IMAGE = "registry.example/scanner:1"
MOUNT = (
    'MountVolume.SetUp failed for volume "pv1" : mount failed: exit status 32\nMounting command: mount\nMounting '
    "arguments: -t nfs 10.255.255.1:/export /var/lib/kubelet/pods/x\nOutput: mount.nfs: Connection timed out\n"
)
SANDBOX = 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "5d": '


@pytest.mark.parametrize(
    ("reason", "message", "expected", "words"),
    [
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1b66" Volume is already used by pod(s) other-saver-abc',
            Reason.VOLUME_NOT_MOUNTED,
            "ReadWriteMany",
        ),
        (
            "FailedAttachVolume",
            (
                'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can\'t '
                "be attached to another"
            ),
            Reason.VOLUME_NOT_MOUNTED,
            "ReadWriteMany",
        ),
        (
            "FailedAttachVolume",
            'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = Internal desc = no such disk',
            Reason.VOLUME_NOT_MOUNTED,
            "storage driver",
        ),
        ("FailedMount", MOUNT, Reason.VOLUME_NOT_MOUNTED, "Output: mount.nfs: Connection timed out - check the volume"),
        (
            "FailedMount",
            (
                "Unable to attach or mount volumes: unmounted volumes=[results], unattached volumes=[], failed to "
                "process volumes=[]: timed out waiting for the condition"
            ),
            Reason.VOLUME_NOT_MOUNTED,
            "check the volume",
        ),
        (
            "FailedMount",
            (
                'MountVolume.MountDevice failed for volume "pvc-5" : kubernetes.io/csi: attacher.MountDevice failed to '
                "create newCsiDriverClient: driver name rbd.csi.ceph.com not found in the list of registered CSI "
                "drivers"
            ),
            Reason.VOLUME_NOT_MOUNTED,
            "start the driver",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "event" : configmap "late-event" not found',
            Reason.CONFIG_MAP_NOT_FOUND,
            "create the ConfigMap",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "x" : secret "live" not found',
            Reason.SECRET_NOT_FOUND,
            "create the Secret",
        ),
        (
            "FailedCreatePodSandBox",
            SANDBOX + 'plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to '
            "container",
            Reason.SANDBOX_NOT_CREATED,
            "more addresses",
        ),
        (
            "FailedCreatePodSandBox",
            SANDBOX + "no IP addresses available in range set: 10.244.0.1-10.244.0.254",
            Reason.SANDBOX_NOT_CREATED,
            "more addresses",
        ),
        (
            "FailedCreatePodSandBox",
            SANDBOX + 'plugin type="calico" failed (add): failed to request IPv4 addresses: Assigned 0 out of 1',
            Reason.SANDBOX_NOT_CREATED,
            "more addresses",
        ),
        ("FailedCreatePodSandBox", SANDBOX + "dial unix: no", Reason.SANDBOX_NOT_CREATED, "network plugin"),
        (
            "NetworkNotReady",
            "network is not ready: container runtime network not ready: cni plugin not initialized",
            Reason.SANDBOX_NOT_CREATED,
            "network plugin",
        ),
        ("FailedQuantumLink", "the flux is low", Reason.KUBERNETES_WARNING, "FailedQuantumLink: the flux is low"),
    ],
)
def test_pod_that_does_not_start_is_an_obstacle(reason: str, message: str, expected: Reason, words: str) -> None:
    warning = event("Pod", f"{NAME}-saver-x", reason, message)
    found, _ = find(warning, pods=(pod("saver", **waiting("ContainerCreating")),))
    assert found is not None
    assert found.reason is expected
    assert found.message.startswith(f"Pod {NAME}-saver-x: {reason}: ")
    assert words in found.message
    assert find(warning, pods=(pod("saver", **running(70)),))[0] is None


PULL = f'Failed to pull image "{IMAGE}": rpc error: code = Unknown desc = failed to pull and unpack image "{IMAGE}": '


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (PULL + f'failed to resolve reference "{IMAGE}": {IMAGE}: not found', "check the image's name"),
        (
            PULL
            + "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2: "
            "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
            "the registry limits pulls",
        ),
        ('Failed to pull image "x": pull QPS exceeded', "the registry limits pulls"),
        (
            PULL + "failed to resolve reference: pull access denied, repository does not exist or may require "
            "authorization: server message: insufficient_scope: authorization failed",
            "a pull secret that may read it",
        ),
        (PULL + "failed to authorize: failed to fetch oauth token: 401 Unauthorized", "a pull secret"),
        (PULL + "no match for platform in manifest: not found", "for the processors of the nodes"),
        (PULL + "failed to do request: Head: tls: x509: certificate signed by unknown authority", "certificate"),
        (PULL + "failed to do request: dial tcp: lookup registry.example: no such host", "reach its registry"),
        (PULL + "write /var/lib/containerd/x: no space left on device", "free disk space"),
    ],
)
@pytest.mark.parametrize("back_off", ["bare", "with cause"])
def test_image_that_cannot_be_pulled_is_explained_by_its_cause(message: str, advice: str, back_off: str) -> None:
    pause = f'Back-off pulling image "{IMAGE}"'
    if back_off == "bare":  # before Kubernetes 1.32 only the Event has the cause
        events = (
            event("Pod", f"{NAME}-saver-x", "Failed", message, at=50),
            event("Pod", f"{NAME}-saver-x", "Failed", "Error: ErrImagePull", at=51),
            event("Pod", f"{NAME}-saver-x", "Failed", "Error: ImagePullBackOff", at=60),
        )
        found, _ = find(*events, pods=(pod("saver", **waiting("ImagePullBackOff", pause)),))
    else:
        found, _ = find(pods=(pod("saver", **waiting("ImagePullBackOff", f"{pause}: ErrImagePull: {message}")),))
    assert found is not None
    assert found.reason is Reason.IMAGE_UNAVAILABLE
    assert message.partition(": ")[2] in found.message
    assert advice in found.message


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            Reason.CONTAINER_NOT_CREATED,
            "would run as root",
        ),
        (
            waiting(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image has non-numeric user (scanner), cannot verify user is non-root",
            ),
            Reason.CONTAINER_NOT_CREATED,
            "numeric user",
        ),
        (
            waiting("CreateContainerConfigError", "couldn't find key token in Secret alerts/live"),
            Reason.SECRET_NOT_FOUND,
            "create the Secret",
        ),
        (
            waiting("CreateContainerError", "failed to generate container: no command specified"),
            Reason.CONTAINER_NOT_CREATED,
            "does not hold the scanner",
        ),
        (
            waiting("RunContainerError", 'exec: "skymap-scanner": executable file not found in $PATH: unknown'),
            Reason.CONTAINER_NOT_CREATED,
            "does not hold the scanner",
        ),
        (waiting("PostStartHookError", "hook failed"), Reason.CONTAINER_NOT_CREATED, "hook failed"),
        (waiting("CreateSandwichError"), Reason.CONTAINER_NOT_CREATED, "CreateSandwichError"),
        (
            waiting("InvalidImageName", 'Failed to apply default image tag "A B": couldn\'t parse image name'),
            Reason.IMAGE_UNAVAILABLE,
            "check the image's name",
        ),
        (waiting("ErrImageNeverPull", "Container image is not present"), Reason.IMAGE_UNAVAILABLE, "not present"),
    ],
)
def test_container_that_waits_for_any_reason_is_an_obstacle(state: Resource, reason: Reason, words: str) -> None:
    found, _ = find(pods=(pod("producer", **state),))
    assert found is not None
    assert found.reason is reason
    assert words in found.message


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        ("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', "storage class"),
        ("ProvisioningFailed", "rpc error: code = ResourceExhausted desc = no space", "storage class"),
        ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!", "is lost!"),
    ],
)
def test_claim_without_a_volume_is_an_obstacle(reason: str, message: str, words: str) -> None:
    warning = event("PersistentVolumeClaim", NAMES.claim, reason, message)
    for phase in ("Pending", "Lost"):
        found, _ = find(warning, claim=phase)
        assert found is not None
        assert found.reason is Reason.CLAIM_UNBOUND
        assert words in found.message
    assert find(warning, claim="Bound")[0] is None


EVICTED = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 2146223340, available: 1883424Ki. Container "
    "saver was using 34260Ki, request is 0, has larger consumption of ephemeral-storage. "
)


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        ("Evicted", EVICTED, "free disk space"),
        (
            "Evicted",
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. ",
            "memory requests",
        ),
        ("Evicted", 'Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". ', "free disk space"),
        ("Evicted", "The node had condition: [DiskPressure]. ", "free disk space"),
        (
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 7500, capacity: 8000",
            "add nodes",
        ),
        ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed", "add nodes"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "add nodes"),
    ],
)
def test_pod_that_its_node_ends_is_an_obstacle_until_another_starts(reason: str, message: str, words: str) -> None:
    ended = pod("saver", phase="Failed", reason=reason, message=message)
    found, _ = find(pods=(ended,))
    assert found is not None
    assert found.reason is Reason.POD_EVICTED
    assert found.message.startswith(f"{NAME}-saver-x: {reason}: {message.partition('.')[0]}")
    assert words in found.message
    assert find(pods=(ended, pod("saver", created=60, name="second", **running(70))))[0] is None


def test_pod_on_a_lost_node_is_an_obstacle() -> None:
    lost = running() | {
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]
    }
    warning = event("Pod", f"{NAME}-collector-x", "NodeNotReady", "Node is not ready")
    found, _ = find(warning, pods=(pod("collector", **lost),))
    assert found is not None
    assert found.reason is Reason.NODE_NOT_READY
    assert find(warning, pods=(pod("collector", **running()),))[0] is None


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"},
        {"type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError"},
    ],
)
def test_deployment_without_pods_is_an_obstacle(condition: Resource) -> None:
    why = 'admission webhook "validate.kyverno.svc-fail" denied the request: image registry not allowed'
    found, _ = find(conditions=(condition | {"message": why},))
    assert found is not None
    assert found.reason is Reason.PODS_REJECTED
    assert why in found.message
    fine = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": why}
    assert find(conditions=(fine,))[0] is None
