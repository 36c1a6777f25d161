"""Reasons in a pod's status that operator and command line explain alike."""

from __future__ import annotations

#: Why a container waits if its image cannot be pulled. Source: ``pkg/kubelet/images/types.go`` of Kubernetes.
IMAGE_UNAVAILABLE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ImageInspectError",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)

#: Why a container waits while its pod starts as it should. Source: ``pkg/kubelet/kubelet_pods.go`` of Kubernetes.
STARTING = frozenset({"ContainerCreating", "PodInitializing"})

#: Why a container waits that ended and is to be started again.
CRASH_LOOP = "CrashLoopBackOff"
