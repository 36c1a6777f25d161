"""Releases of the chart."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.cluster.cluster import SCRIPTS, Cluster
from testing.cluster.operators import NO_IMAGE

HELM = SCRIPTS.parents[1] / "helm" / "helm.sh"
CHART = SCRIPTS.parents[1] / "helm" / "skymap-scanner"

#: How long helm waits for pods (s).
TIMEOUT = 300

Values = dict[str, Any]


class HelmError(AssertionError):
    """Helm failed; the message is its output."""


@dataclass(frozen=True)
class Release:
    """A release by name and namespace, installed or not."""

    cluster: Cluster
    namespace: str
    name: str = "skymap"

    def run(self, command: str, *words: str | Path, given: Values | None = None) -> str:
        """Run a helm command on this release; return its output with warnings."""
        to = ["--namespace", self.namespace, "--kubeconfig", self.cluster.kubeconfig]
        values = [] if given is None else ["--values", "-"]
        done = subprocess.run(
            [HELM, command, self.name, *words, *to, *values],
            input=json.dumps(given or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT + 60,
        )
        if done.returncode:
            raise HelmError(f"helm {command} {self.name}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def installed(self) -> bool:
        """Return whether the release exists, in any state."""
        try:
            return bool(self.run("status"))
        except HelmError:
            return False

    def install(self, given: Values, *words: str | Path, chart: Path = CHART) -> str:
        """Install it and take over an existing definition."""
        return self.run("install", chart, "--take-ownership", *words, given=given)

    def upgrade(self, given: Values, *words: str | Path, chart: Path = CHART) -> str:
        return self.run("upgrade", chart, *words, given=given)

    def uninstall(self, *words: str) -> str:
        return self.run("uninstall", "--wait", *words)


WAIT = ("--wait", "--timeout", f"{TIMEOUT}s")


def images(operator: str, worker: str = NO_IMAGE) -> Values:
    """Return the values for images, each given as REPOSITORY:TAG."""

    def named(image: str) -> Values:
        repository, _, tag = image.rpartition(":")
        return {"image": {"repository": repository, "tag": tag}}

    return {"operator": named(operator), "worker": named(worker)}
