"""Clusters for benchmarks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testing.cluster.cluster import SCRIPTS, Cluster, Namespace
from testing.waiting import eventually


def run(*words: object) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr}")
    return done.stdout


@contextmanager
def own_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster that stops with this process."""
    name = f"skymap-bench-{os.getpid()}"
    started = run(SCRIPTS / "up.sh", name, "--until", os.getpid())
    kubeconfig = Path(started.splitlines()[-1].removeprefix("export KUBECONFIG="))
    native = not (kubeconfig.parent / "kind").exists()
    kubectl = f"{run(SCRIPTS / 'build.sh').strip()}/bin/kubectl" if native else "kubectl"
    try:
        yield Cluster(kubeconfig, kubectl, folder / "kubectl", name)
    finally:
        run(SCRIPTS / "down.sh", name)


def image_of(kind: str) -> tuple[str, Path]:
    """Build the image ``worker`` or ``operator``; return its name and archive."""
    image, archive = run(SCRIPTS / "images/build.sh", kind).strip().split(" ", 1)
    return image, Path(archive)


def define(cluster: Cluster) -> None:
    """Install the definition of SkymapScan."""
    cluster.kubectl("create", "-f", SCRIPTS.parents[1] / "crds" / "skymapscans.yaml")
    eventually(lambda: cluster.kubectl("explain", "sms"))


def prepared(cluster: Cluster, name: str) -> tuple[Namespace, str]:
    """Load the worker's image, install the definition, and create a namespace; return it and the image."""
    image, archive = image_of("worker")
    cluster.load(archive)
    define(cluster)
    cluster.kubectl("create", "namespace", name)
    return Namespace(cluster, name), image
