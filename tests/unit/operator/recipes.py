"""Recipes for the tests of the manifests, and what all objects and pods have in common."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from testing.manifests import cases
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, START

from skymap_api.resource import SkymapScan, SkymapScanSpec
from skymap_api.resource.status import SkymapScanStatus
from skymap_operator import manifests
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.state import ObservedScan
from skymap_operator.settings import Settings
from skymap_operator.version import VERSION

Manifest = dict[str, Any]
URL = {"event": {"url": "https://example.org/event.json"}}
EXAMPLES = Path(__file__).parents[3] / "examples"
FULL = yaml.safe_load((EXAMPLES / "scan-full.yaml").read_text())["spec"]
TEMPLATE = "skymap.icecube.wisc.edu/pod-template"
SETTINGS_DIGEST = "skymap.icecube.wisc.edu/settings"
HASH = "skymap.icecube.wisc.edu/content"
OPERATOR = "skymap.icecube.wisc.edu/operator-version"


def spec_of(values: Manifest) -> SkymapScanSpec:
    return SkymapScan.model_validate(cases.manifest(values)).spec


def scan(values: Manifest, status: SkymapScanStatus | None = None) -> ObservedScan:
    return ObservedScan(NAMESPACE, NAME, "uid-1", 1, START, False, (), spec_of(values), status or SkymapScanStatus())


def made(values: Manifest, settings: Settings = SETTINGS, tls_keys: frozenset[str] = frozenset()) -> Recipe:
    return Recipe.of(scan(values), spec_of(values), settings, tls_keys)


def unsigned(manifest: Manifest) -> Manifest:
    """Return the manifest without its digests, whose form is checked."""
    manifest = copy.deepcopy(manifest)
    notes = manifest["metadata"]["annotations"]
    assert notes.pop(OPERATOR, None) == (VERSION if manifest["kind"] == "Deployment" else None)
    digests = {"Job": (HASH, SETTINGS_DIGEST, TEMPLATE), "Deployment": (HASH, SETTINGS_DIGEST)}
    for annotation in digests.get(manifest["kind"], (HASH,)):
        assert len(notes.pop(annotation)) == 16
    return manifest


def everything(recipe: Recipe) -> list[Manifest]:
    claim = manifests.claim(recipe)
    workers = manifests.workers(recipe, 3)
    return [manifests.config_map(recipe), *manifests.jobs(recipe).values(), workers, *([claim] if claim else [])]


def pods(recipe: Recipe) -> dict[str, Manifest]:
    found = manifests.jobs(recipe) | {"worker": manifests.workers(recipe, 3)}
    return {role: one["spec"]["template"]["spec"] for role, one in found.items()}


def labels(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "skymap-scanner",
        "app.kubernetes.io/instance": "alert",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "skymap-operator",
        "skymap.icecube.wisc.edu/scan": "alert",
    }


def metadata(name: str, component: str, memory: str | None = None) -> Manifest:
    notes = {} if memory is None else {"skymap.icecube.wisc.edu/memory-limit": memory}
    return {
        "name": name,
        "namespace": "alerts",
        "labels": labels(component),
        "annotations": {"skymap.icecube.wisc.edu/scan-name": "alert", **notes},
        "ownerReferences": [
            {
                "apiVersion": "skymap.icecube.wisc.edu/v1alpha1",
                "kind": "SkymapScan",
                "name": "alert",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def alive(minutes: int) -> str:
    return f'test ! -e /tmp/alive || test -n "$(find /tmp/alive -mmin -{minutes})"'


#: A pod on a lost node is replaced after half a minute.
LOST_NODE = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    for taint in ("not-ready", "unreachable")
]


def template(role: str, arguments: list[str], **more: Any) -> Manifest:
    """The pod template of a scan; ``more``: volumes, mounts, env, restart, grace, resources, minutes."""
    volumes = more.get("volumes", [])
    return {
        "metadata": {
            "labels": labels(role),
            "annotations": {"skymap.icecube.wisc.edu/scan-name": "alert"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": role,
                    "image": "registry.example/scanner:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                    "env": [
                        {"name": "HOME", "value": "/tmp"},  # noqa: S108
                        *(
                            {"name": variable, "valueFrom": {"configMapKeyRef": {"name": "alert-scan", "key": key}}}
                            for variable, key in (("SKYMAP_BROKER", "broker"), ("SKYMAP_ADMIN_URL", "admin-url"))
                        ),
                        *more.get("env", []),
                        {"name": "SKYMAP_ALIVE", "value": "/tmp/alive"},  # noqa: S108
                    ],
                    "livenessProbe": {
                        "exec": {"command": ["sh", "-c", alive(more.get("minutes", 1))]},
                        "periodSeconds": 30,
                        "timeoutSeconds": 30,
                        "failureThreshold": 2,
                        "terminationGracePeriodSeconds": 5,
                    },
                    "resources": more["resources"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "privileged": False,
                        "readOnlyRootFilesystem": True,
                    },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *more.get("mounts", [])],  # noqa: S108
                }
            ],
            "enableServiceLinks": False,
            "restartPolicy": more["restart"],
            "securityContext": {
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsGroup": 1000,
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": more["grace"],
            "tolerations": LOST_NODE,
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, *volumes],
        },
    }
