"""Reasons in a pod's status that operator and command line explain alike."""

from __future__ import annotations

#: Why a container waits if its image cannot be pulled. Source: ``pkg/kubelet/images/types.go`` of Kubernetes.
IMAGE_UNAVAILABLE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
