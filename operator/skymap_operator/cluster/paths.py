"""Where the API server has the objects of each kind."""

from __future__ import annotations

from urllib.parse import quote

from skymap_api.names import API_VERSION

_PLURALS = {
    "SkymapScan": (f"apis/{API_VERSION}", "skymapscans"),
    "Job": ("apis/batch/v1", "jobs"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ConfigMap": ("api/v1", "configmaps"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Event": ("api/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
}


def group_of(kind: str) -> str:
    """Return the path of the API group and version of a kind."""
    return _PLURALS[kind][0]


def path_of(kind: str, namespace: str | None, *rest: str) -> str:
    """Return the path of a kind's objects, of one object, or of its subresource."""
    group, plural = _PLURALS[kind]
    where = "" if namespace is None else f"namespaces/{quote(namespace, safe='')}/"
    return "/".join([f"{group}/{where}{plural}", *(quote(part, safe="") for part in rest)])
