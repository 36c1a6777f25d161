"""The embedded broker of a test: one file, which may be opened several times."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymap_scanner.broker import Broker, SubscriptionType, open_broker

TOPIC = "persistent://icecube/skymap/scan-to_be_scanned"
SHARED, FAILOVER = SubscriptionType.SHARED, SubscriptionType.FAILOVER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


def open_at(path: Path) -> Broker:
    return open_broker(f"sqlite:///{path}")
