"""Fixtures for a real Kubernetes cluster (a plugin of ``tests/conftest.py``).

``SKYMAP_TEST_KUBECONFIG`` names the kubeconfig of an existing cluster; otherwise one is started for the session. If
none can be started, the tests are skipped, but in CI (the variable ``CI``) they fail. The report of a failed test shows
its namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from testing.cluster.cluster import SCRIPTS, Cluster, KubectlError, Namespace
from testing.leaving import leave_out
from testing.waiting import eventually

DEFINITION = SCRIPTS.parents[1] / "crds" / "skymapscans.yaml"


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of dev/cluster/, which may fail."""
    return subprocess.run([SCRIPTS / name, *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def engine() -> str:
    """How clusters are started on this machine: kind or native."""
    command = ["bash", "-c", '. "$0/common.sh"; engine', str(SCRIPTS)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        leave_out(f"a Kubernetes cluster cannot be started here: {asked.stderr.strip()}")
    return asked.stdout.strip()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of this session."""
    given, cache = os.environ.get("SKYMAP_TEST_KUBECONFIG"), tmp_path_factory.mktemp("kubectl")
    if given:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            pytest.fail("SKYMAP_TEST_KUBECONFIG is set, but there is no kubectl: install it", pytrace=False)
        cluster = Cluster(Path(given), kubectl, cache)
        try:
            cluster.kubectl("get", "--raw", "/readyz")
        except KubectlError as error:
            pytest.fail(f"the cluster of SKYMAP_TEST_KUBECONFIG does not answer: {error}", pytrace=False)
        yield cluster
        return
    engine = request.getfixturevalue("engine")
    kubectl = "kubectl"
    if engine == "native":
        built = script("build.sh")
        if built.returncode:
            pytest.fail(built.stderr, pytrace=False)
        kubectl = f"{built.stdout.strip()}/bin/kubectl"
    name = f"skymap-test-{os.getpid()}"
    started = script("up.sh", name, "--until", str(os.getpid()))
    if started.returncode:
        pytest.fail(f"the cluster could not be started: {started.stderr}", pytrace=False)
    kubeconfig = started.stdout.splitlines()[-1].removeprefix("export KUBECONFIG=")
    try:
        yield Cluster(Path(kubeconfig), kubectl, cache, name)
    finally:
        ended = script("down.sh", name)
    if ended.returncode:
        pytest.fail(f"the cluster could not be stopped: {ended.stderr}", pytrace=False)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A new namespace. It is deleted without waiting, which would take long."""
    name = f"test-{uuid4().hex[:12]}"
    cluster.kubectl("create", "namespace", name)
    # Pods need the default service account, which the cluster creates a moment later.
    cluster.kubectl("--namespace", name, "wait", "--for", "create", "serviceaccount/default", "--timeout", "30s")
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")  # a test may have deleted it


@pytest.fixture
def restricted(namespace: Namespace) -> Namespace:
    """A namespace that enforces the restricted pod security level."""
    namespace.cluster.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


@pytest.fixture(scope="session")
def definition(cluster: Cluster) -> Iterator[None]:
    """Install the definition of SkymapScan on the session's cluster."""
    made = cluster.run("create", "-f", DEFINITION)
    if made.returncode and "AlreadyExists" not in made.stderr:
        pytest.fail(f"the cluster refuses {DEFINITION.name}: {made.stderr}", pytrace=False)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", DEFINITION)
    eventually(lambda: cluster.kubectl("explain", "sms"))  # established, with all of its names
    yield
    if made.returncode == 0:  # an existing definition may have scans
        cluster.kubectl("delete", "-f", DEFINITION, "--wait=false")


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[httpx.Client]:
    """The Kubernetes API with the permissions of the kubeconfig, for what kubectl does not show of an answer."""
    with subprocess.Popen(
        cluster.command("proxy", "--port=0"), stdout=subprocess.PIPE, text=True, env=cluster.environment()
    ) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().strip().removeprefix("Starting to serve on ")
            with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
                yield client
        finally:
            proxy.kill()


@pytest.fixture(scope="session")
def python_image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python and a shell for pods of the session's cluster."""
    if not cluster.is_native:
        return "python:3.13-slim"
    name, archive = "localhost/python:1", tmp_path_factory.mktemp("image") / "python.tar"
    root = script("images/python.sh")
    assert root.returncode == 0, root.stderr
    subprocess.run(["python3", SCRIPTS / "images/oci.py", archive, name, root.stdout.strip()], check=True)
    cluster.load(archive)
    return name


def build_image(kind: str) -> tuple[str, Path]:
    """Build an image of this project if it has changed; return its name and archive."""
    # The Python of the tests has pip.
    environment = os.environ | {"PYTHON": sys.executable}
    command = [SCRIPTS / "images/build.sh", kind]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert made.returncode == 0, made.stderr
    name, archive = made.stdout.strip().split(" ", 1)
    return name, Path(archive)


def loaded(cluster: Cluster, kind: str) -> str:
    """Build an image of this project and load it into a cluster; return its name."""
    if cluster.name is None:
        leave_out("images cannot be loaded into a cluster that was given")
    name, archive = build_image(kind)
    cluster.load(archive)
    return name


@pytest.fixture(scope="session")
def worker_image(cluster: Cluster) -> str:
    """The worker's image with compiled kernels."""
    return loaded(cluster, "worker")


@pytest.fixture(scope="session")
def operator_image(cluster: Cluster) -> str:
    """The operator's image."""
    return loaded(cluster, "operator")


@pytest.fixture(scope="session")
def pulsar_image(cluster: Cluster) -> str:
    """The image of the evaluation Pulsar: that of Apache, or one built here with the same interface."""
    return loaded(cluster, "pulsar")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the namespace to the report of a failed test."""
    report = yield
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.when == "call" and report.failed and isinstance(namespace, Namespace):
        report.sections += [(f"Kubernetes: {what}", text) for what, text in namespace.report().items()]
    return report
