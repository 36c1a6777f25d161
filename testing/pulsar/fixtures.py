"""Fixtures for tests with a real Pulsar (a plugin of ``tests/conftest.py``).

``PULSAR_URL`` and ``PULSAR_ADMIN_URL`` name a running broker; otherwise the session starts one. Where Pulsar cannot
run, these tests are skipped, or fail if the variable ``CI`` is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from testing.pulsar.server import START, PulsarAddress, PulsarServer


@pytest.fixture(scope="session")
def pulsar_installed() -> None:
    """Download Pulsar if it is missing."""
    tools = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if tools and not os.environ.get("CI"):
        pytest.skip(f"needs a real Pulsar, and {', '.join(tools)} to run it: see make pulsar-install")
    installed = subprocess.run([str(START.with_name("install.sh"))], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.fail(f"Pulsar cannot be installed: {installed.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def pulsar_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarAddress]:
    """The broker of this session. No test stops or kills it."""
    given = [os.environ.get(name) for name in ("PULSAR_URL", "PULSAR_ADMIN_URL")]
    if given[0] and given[1]:
        yield PulsarAddress(given[0], given[1])
    elif any(given):
        pytest.fail("PULSAR_URL and PULSAR_ADMIN_URL go together: set both or none", pytrace=False)
    else:
        request.getfixturevalue("pulsar_installed")
        with PulsarServer(tmp_path_factory.mktemp("pulsar")) as server:
            yield server.address


@pytest.fixture
def own_pulsar(pulsar_installed: None, tmp_path: Path) -> Iterator[Callable[..., PulsarServer]]:
    """Start brokers that the test may kill; ``own_pulsar(...)`` takes the options of `PulsarServer`."""
    servers: list[PulsarServer] = []

    def start(**options: object) -> PulsarServer:
        servers.append(PulsarServer(tmp_path / f"pulsar-{len(servers)}", **options))  # type: ignore[arg-type]
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def pulsar_tenant(pulsar_server: PulsarAddress) -> Iterator[str]:
    """An unused name for a tenant, which is removed afterwards."""
    tenant = f"test-{uuid4().hex[:12]}"
    yield tenant
    admin = f"{pulsar_server.admin_url}/admin/v2"
    namespaces = httpx.get(f"{admin}/namespaces/{tenant}", timeout=30)
    if namespaces.status_code == httpx.codes.NOT_FOUND:
        return
    for namespace in namespaces.raise_for_status().json():
        httpx.delete(f"{admin}/namespaces/{namespace}?force=true", timeout=30).raise_for_status()
    httpx.delete(f"{admin}/tenants/{tenant}", timeout=30).raise_for_status()


@pytest.fixture
def pulsar_namespace(pulsar_tenant: str) -> str:
    """An unused namespace, as the prefix of its topics: ``persistent://tenant/namespace``."""
    return f"persistent://{pulsar_tenant}/skymap"
