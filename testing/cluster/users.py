"""A user with few permissions who runs commands, and the status that the operator would write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from testing.cluster.cluster import Namespace

GROUP = "skymap.icecube.wisc.edu"
Object = dict[str, Any]
#: API groups, resources and verbs.
Permissions = list[tuple[list[str], list[str], list[str]]]

#: The users' table of docs/reference/permissions.md.
PERMISSIONS: Permissions = [
    ([GROUP], ["skymapscans"], ["get", "list", "create", "patch", "delete"]),
    ([""], ["configmaps"], ["get", "list", "watch", "create", "delete", "patch"]),
    ([""], ["persistentvolumeclaims"], ["get"]),
    (["batch"], ["jobs"], ["get", "create", "delete"]),
    ([""], ["pods"], ["get", "list"]),
    ([""], ["pods/log"], ["get"]),
    ([""], ["pods/exec"], ["get", "create"]),
    ([""], ["events"], ["list"]),
]


@dataclass(frozen=True)
class User:
    """A user with few permissions on a cluster."""

    namespace: Namespace
    kubeconfig: Path
    home: Path

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "SKYMAP_KUBECTL": self.namespace.cluster.kubectl_program,
            "KUBECACHEDIR": str(self.namespace.cluster.cache),
            "COLUMNS": "120",
        }
        return subprocess.Popen(
            [sys.executable, "-u", "-P", "-m", "skymap_scanner", *map(str, words)],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command, which may fail."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def call(self, *words: str | Path) -> str:
        """Run a command, which must succeed; return its output and errors."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *words: str | Path) -> str:
        """Run a command that must fail with one line of explanation; return that line."""
        done = self.run(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        return line


def kubeconfig_of(namespace: Namespace, account: str, path: Path) -> Path:
    """Write a kubeconfig for a service account."""
    config = yaml.safe_load(namespace.kubectl("config", "view", "--raw", "-o", "yaml"))
    config["users"][0]["user"] = {"token": namespace.kubectl("create", "token", account).strip()}
    config["contexts"][0]["context"]["namespace"] = namespace.name
    path.write_text(json.dumps(config))
    return path


def user_of(namespace: Namespace, folder: Path) -> User:
    """Create a user with `PERMISSIONS` in a namespace and enforce the restricted pod security level there."""
    namespace.cluster.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    home = folder / "home"
    home.mkdir()
    return User(namespace, account_with(namespace, "user", PERMISSIONS, folder / "kubeconfig"), home)


def submitter_of(namespace: Namespace, folder: Path) -> Namespace:
    """Return the namespace as a user sees it who may create, get and list SkymapScans, and nothing else."""
    rights: Permissions = [([GROUP], ["skymapscans"], ["create", "get", "list"])]
    kubeconfig = account_with(namespace, "submitter", rights, folder / "submitter")
    return Namespace(replace(namespace.cluster, kubeconfig=kubeconfig), namespace.name)


def account_with(namespace: Namespace, name: str, permissions: Permissions, path: Path) -> Path:
    """Create a service account with permissions in its namespace; write and return its kubeconfig."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [dict(zip(("apiGroups", "resources", "verbs"), rule, strict=True)) for rule in permissions],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
    }
    namespace.apply(role, account, binding)
    return kubeconfig_of(namespace, name, path)


def set_status(namespace: Namespace, name: str = "demo", **status: Any) -> None:
    """Write a scan's status in place of the operator."""
    patch = json.dumps({"status": status})
    namespace.kubectl("patch", "sms", name, "--subresource=status", "--type=merge", "-p", patch)


def ended(status: str, reason: str) -> list[Object]:
    return [
        {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": "as the operator says",
            "lastTransitionTime": "2026-01-02T12:00:00Z",
        }
    ]


def pod_spec(image: str, *command: str, **more: Any) -> Object:
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "containers": [container],
        "restartPolicy": "Never",
        "securityContext": security,
        "terminationGracePeriodSeconds": 1,
    } | more
