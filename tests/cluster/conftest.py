"""Fixtures of the tests of the operator on a real cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.cluster import Namespace
from tests.cluster.operators import OperatorProcess
from tests.pulsar.server import PulsarAddress


@pytest.fixture
def operators(
    request: pytest.FixtureRequest,
    definition: None,
    namespace: Namespace,
    pulsar_server: PulsarAddress,
    pulsar_tenant: str,
    tmp_path: Path,
) -> Iterator[Callable[..., OperatorProcess]]:
    """Start operators for the test's namespace; settings by their names, such as ``IMAGE="..."``."""
    started: list[OperatorProcess] = []

    def start(**settings: str) -> OperatorProcess:
        log = tmp_path / f"operator-{len(started)}.log"
        started.append(OperatorProcess(namespace, pulsar_server, pulsar_tenant, log, settings))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        # No scan may be left that nobody would let go: its finalizer would keep the namespace.
        if one.process is None:
            one.start()
    namespace.kubectl("delete", "skymapscans", "--all", "--timeout=60s")
    for one in started:
        one.end()
        print(one.log.read_text())  # noqa: T201 - shown where the test failed
