"""Fixtures of the tests of the operator on a real cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.fixtures import DEFINITION
from testing.cluster.operators import COMMAND, OperatorProcess
from testing.cluster.releases import Release
from testing.cluster.scans import event_server
from testing.cluster.users import submitter_of
from testing.pulsar.server import PulsarAddress, PulsarServer

from skymap_api.names import KIND


@pytest.fixture(scope="session")
def pulsar_server(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PulsarAddress]:
    """The broker of this session's tests. Pods can reach it if the cluster is one of ours."""
    given = [os.environ.get(name) for name in ("PULSAR_URL", "PULSAR_ADMIN_URL")]
    if given[0] and given[1]:
        yield PulsarAddress(given[0], given[1])
        return
    request.getfixturevalue("pulsar_installed")
    host = "127.0.0.1" if cluster.name is None else cluster.host
    with PulsarServer(tmp_path_factory.mktemp("pulsar"), host=host) as server:
        yield server.address


@pytest.fixture
def events(cluster: Cluster, worker_image: str) -> Iterator[str]:
    """A server of events for pods: URL/event, URL/guarded with a password, and URL/text, which is no event."""
    with event_server(cluster.host) as url:
        yield url


@pytest.fixture
def submitter(namespace: Namespace, tmp_path: Path) -> Namespace:
    """The test's namespace for a user who may only create, get and list SkymapScans."""
    return submitter_of(namespace, tmp_path)


@pytest.fixture
def operators(
    request: pytest.FixtureRequest,
    definition: None,
    namespace: Namespace,
    pulsar_server: PulsarAddress,
    pulsar_tenant: str,
    tmp_path: Path,
) -> Iterator[Callable[..., OperatorProcess]]:
    """Start operators for the test's namespace, with settings such as ``IMAGE="..."``.

    ``program``: another one than that of this version.
    """
    started: list[OperatorProcess] = []

    def start(program: tuple[str, ...] = (str(COMMAND),), **settings: str) -> OperatorProcess:
        log = tmp_path / f"operator-{len(started)}.log"
        started.append(OperatorProcess(namespace, pulsar_server, pulsar_tenant, log, settings, program=program))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        # Delete all scans while an operator runs: their finalizers would otherwise keep the namespace.
        if one.process is None:
            one.start()
    try:
        namespace.kubectl("delete", "skymapscans", "--all", "--timeout=100s")
    finally:
        for one in started:
            one.end()
            print(one.log.read_text())  # noqa: T201 - shown if the test failed


@pytest.fixture
def place(cluster: Cluster, namespace: Namespace, definition: None) -> Iterator[Namespace]:
    """A namespace of the restricted level for a release. The definition is restored afterwards."""
    cluster.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    yield namespace
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", DEFINITION)


@pytest.fixture
def release(cluster: Cluster, place: Namespace) -> Iterator[Release]:
    """A release to install. What is left of it is removed afterwards."""
    made = Release(cluster, place.name)
    yield made
    if made.installed():
        made.uninstall("--no-hooks")
    for one in place.get("skymapscans")["items"]:
        place.kubectl(
            "patch", KIND, one["metadata"]["name"], "--type=merge", "--patch", '{"metadata":{"finalizers":null}}'
        )
