"""A Kubernetes cluster and a namespace of it, used through kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.waiting import UnavailableError

#: Scripts that start and stop clusters.
SCRIPTS = Path(__file__).resolve().parents[2] / "dev" / "cluster"

#: Timeout of a kubectl command (s). No test asks it to wait longer.
CALL_SECONDS = 120.0

#: Kinds shown in the report of a failed test; never Secrets.
SHOWN = "pods,deployments,replicasets,jobs,statefulsets,services,persistentvolumeclaims,quota"


class KubectlError(UnavailableError):
    """kubectl failed; the message is its standard error."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster. ``name`` is None for a cluster that was given by its kubeconfig."""

    kubeconfig: Path
    kubectl_program: str
    #: kubectl's discovery cache, one per cluster: the next cluster may have the same address.
    cache: Path
    name: str | None = None

    def run(self, *words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl, which may fail."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
            env=self.environment(),
        )

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl, which must succeed, and return its output."""
        done = self.run(*words, stdin=stdin)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words: str | Path) -> Any:
        """Return the result of ``kubectl get WORDS`` from JSON."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def command(self, *words: str | Path) -> list[str]:
        return [self.kubectl_program, "--kubeconfig", str(self.kubeconfig), *map(str, words)]

    def environment(self) -> dict[str, str]:
        return os.environ | {"KUBECACHEDIR": str(self.cache)}

    def load(self, archive: Path) -> None:
        """Load an image into a cluster that we started."""
        if self.name is None:
            raise RuntimeError("images cannot be loaded into a cluster given by its kubeconfig")
        done = subprocess.run(
            [SCRIPTS / "load.sh", self.name, archive], capture_output=True, text=True, check=False, timeout=CALL_SECONDS
        )
        assert done.returncode == 0, done.stderr

    @property
    def is_native(self) -> bool:
        """Whether images must be built without a container engine."""
        return self.name is not None and not (self.kubeconfig.parent / "kind").exists()

    @property
    def host(self) -> str:
        """The address at which pods of a cluster that we started reach this machine."""
        return (self.kubeconfig.parent / "host").read_text().strip()


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test."""

    cluster: Cluster
    name: str

    def run(self, *words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl in this namespace; it may fail."""
        return self.cluster.run("--namespace", self.name, *words, stdin=stdin)

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl in this namespace; it must succeed."""
        return self.cluster.kubectl("--namespace", self.name, *words, stdin=stdin)

    def get(self, *words: str | Path) -> Any:
        """Return the result of ``kubectl get WORDS`` in this namespace from JSON."""
        return self.cluster.get("--namespace", self.name, *words)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or update objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def report(self) -> dict[str, str]:
        """Return events, resources and logs for the report of a failed test."""
        kinds = SHOWN + (",skymapscans" if self.run("get", "skymapscans").returncode == 0 else "")
        found = {
            "events": self._output("get", "events", "--sort-by", ".metadata.creationTimestamp"),
            "resources": self._output("get", kinds, "-o", "yaml"),
        }
        for pod in self._output("get", "pods", "-o", "name").split():
            found[f"log of {pod}"] = self._output("logs", pod, "--all-containers", "--prefix", "--tail", "30")
        return found

    def _output(self, *words: str) -> str:
        done = self.run(*words)
        return done.stdout + done.stderr
