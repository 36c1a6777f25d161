"""A Kubernetes cluster, and a namespace of it, as tests use them: through kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.waiting import UnavailableError

#: The scripts that start and end clusters.
SCRIPTS = Path(__file__).resolve().parents[2] / "dev" / "cluster"

#: How long one call of kubectl may take (s): no test asks it to wait for longer.
CALL_SECONDS = 120.0

#: What is shown of a namespace in which a test failed; Secrets are not.
SHOWN = "pods,deployments,replicasets,jobs,statefulsets,services,persistentvolumeclaims,quota"


class KubectlError(UnavailableError):
    """kubectl failed; the message is its standard error."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers; ``name`` is that of one of our own, None of one that was given."""

    kubeconfig: Path
    kubectl_program: str
    #: Where kubectl keeps what it has learnt of this cluster: the next one may have the same address.
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
        """Run kubectl, which must succeed; return what it printed."""
        done = self.run(*words, stdin=stdin)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words: str | Path) -> Any:
        """Return what ``kubectl get WORDS`` finds, as JSON."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def command(self, *words: str | Path) -> list[str]:
        return [self.kubectl_program, "--kubeconfig", str(self.kubeconfig), *map(str, words)]

    def environment(self) -> dict[str, str]:
        return os.environ | {"KUBECACHEDIR": str(self.cache)}

    def load(self, archive: Path) -> None:
        """Give the cluster an image; only for one of our own."""
        if self.name is None:
            raise RuntimeError("a cluster that was given pulls its images itself")
        done = subprocess.run(
            [SCRIPTS / "load.sh", self.name, archive], capture_output=True, text=True, check=False, timeout=CALL_SECONDS
        )
        assert done.returncode == 0, done.stderr

    @property
    def is_native(self) -> bool:
        """Whether images must be made without a container engine."""
        return self.name is not None and not (self.kubeconfig.parent / "kind").exists()

    @property
    def host(self) -> str:
        """The address at which pods reach this machine; only for one of our own."""
        return (self.kubeconfig.parent / "host").read_text().strip()


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test's own."""

    cluster: Cluster
    name: str

    def run(self, *words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl in this namespace; it may fail."""
        return self.cluster.run("--namespace", self.name, *words, stdin=stdin)

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run kubectl in this namespace; it must succeed."""
        return self.cluster.kubectl("--namespace", self.name, *words, stdin=stdin)

    def get(self, *words: str | Path) -> Any:
        """Return what ``kubectl get WORDS`` finds in this namespace, as JSON."""
        return self.cluster.get("--namespace", self.name, *words)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make these objects, or change them."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def told(self) -> dict[str, str]:
        """Say what is here and what happened: for the report of a failed test."""
        kinds = SHOWN + (",skymapscans" if self.run("get", "skymapscans").returncode == 0 else "")
        told = {
            "events": self._said("get", "events", "--sort-by", ".metadata.creationTimestamp"),
            "resources": self._said("get", kinds, "-o", "yaml"),
        }
        for pod in self._said("get", "pods", "-o", "name").split():
            told[f"log of {pod}"] = self._said("logs", pod, "--all-containers", "--prefix", "--tail", "30")
        return told

    def _said(self, *words: str) -> str:
        done = self.run(*words)
        return done.stdout + done.stderr
