"""The brokers of a scan whose workers fail: an embedded one, and a real Pulsar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import Access, open_broker


@pytest.fixture(params=[pytest.param("pulsar", marks=pytest.mark.pulsar), "sqlite"])
def place(request: pytest.FixtureRequest) -> Iterator[Callable[[Scan], list[str]]]:
    """Return a function that moves a scan to a broker and returns the broker's options."""
    moved: list[Scan] = []

    def move(scan: Scan) -> list[str]:
        if request.param == "sqlite":
            return ["-b", scan.url]
        server = request.getfixturevalue("pulsar_server")
        scan.url = server.url
        scan.opened = lambda url: open_broker(url, Access(admin_url=server.admin_url))
        scan.rename(f"worker-{uuid4().hex[:8]}")
        moved.append(scan)
        return ["-b", server.url, "--admin-url", server.admin_url]

    yield move
    for scan in moved:
        with scan.open() as broker:
            for topic in broker.topics(f"persistent://icecube/skymap/{scan.settings.name}-"):
                broker.delete_topic(topic)
