"""Releases of the chart, as tests install, upgrade and uninstall them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.cluster.cluster import SCRIPTS, Cluster

HELM = SCRIPTS.parents[1] / "helm" / "helm.sh"
CHART = SCRIPTS.parents[1] / "helm" / "skymap-scanner"

#: How long helm may wait for pods (s).
PATIENCE = 300

Values = dict[str, Any]


class HelmError(AssertionError):
    """Helm failed; the message is what it said."""


@dataclass(frozen=True)
class Release:
    """A release of a name in a namespace, which may not be installed."""

    cluster: Cluster
    namespace: str
    name: str = "skymap"

    def run(self, command: str, *words: str | Path, given: Values | None = None) -> str:
        """Run a command of helm on this release; return what it printed, its warnings too."""
        to = ["--namespace", self.namespace, "--kubeconfig", self.cluster.kubeconfig]
        values = [] if given is None else ["--values", "-"]
        done = subprocess.run(
            [HELM, command, self.name, *words, *to, *values],
            input=json.dumps(given or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE + 60,
        )
        if done.returncode:
            raise HelmError(f"helm {command} {self.name}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def installed(self) -> bool:
        """Whether there is such a release, whatever its state."""
        try:
            return bool(self.run("status"))
        except HelmError:
            return False

    def install(self, given: Values, *words: str | Path, chart: Path = CHART) -> str:
        """Install it; a definition that is there already becomes its own."""
        return self.run("install", chart, "--take-ownership", *words, given=given)

    def upgrade(self, given: Values, *words: str | Path, chart: Path = CHART) -> str:
        return self.run("upgrade", chart, *words, given=given)

    def uninstall(self, *words: str) -> str:
        return self.run("uninstall", "--wait", *words)


WAIT = ("--wait", "--timeout", f"{PATIENCE}s")
