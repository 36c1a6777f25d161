"""Fixtures of the tests of the broker over Pulsar."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from testing.pulsar.server import PulsarAddress

from skymap_scanner.broker import Access, Broker, open_broker


@pytest.fixture
def broker(pulsar_server: PulsarAddress) -> Iterator[Broker]:
    """The session's broker, opened."""
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        yield broker


@pytest.fixture
def topic(pulsar_namespace: str) -> str:
    """An unused topic name."""
    return f"{pulsar_namespace}/topic-{uuid4().hex[:8]}"
