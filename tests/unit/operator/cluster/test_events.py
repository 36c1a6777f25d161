"""Kubernetes Events that the operator writes."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from skymap_operator.cluster.events import event_about

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: RFC 1123, as the API server checks the names of objects.
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@pytest.mark.parametrize("name", ["scan", "a" * 253, f"{'a' * 229}-b", f"{'a' * 229}.b", f"{'a' * 228}.-b"[:253]])
def test_event_about_any_scan_has_a_valid_name(name: str) -> None:
    meta = {"name": name, "namespace": "n", "uid": "u"}
    event = event_about({"apiVersion": "v1", "kind": "K", "metadata": meta}, "Warning", "Reason", "Größe ν" * 1000, NOW)
    assert SUBDOMAIN.fullmatch(event["metadata"]["name"])
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["message"]) == 1024
