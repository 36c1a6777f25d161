"""Quantities on a real API server: what it makes of them compares equal, and the definition accepts no others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import TypeAdapter
from testing.cluster.cluster import Namespace

from skymap_api.resource.quantities import Quantity, same_quantity

QUANTITIES = [
    *("0", "1", "1.", ".5", "0.1", "+1", "1000m", "1.5", "1500m", "100n", "0.1n", "1u", "3000u", "2k", "1M", "1G"),
    *("1T", "1P", "1E", "9E", "1e3", "1E3", "1e+3", "1e-3", "1.5e1", "12e6", "e3"),
    *("1Ki", "2097152Ki", "1.5Ki", "0.5Mi", "2Gi", "1024Mi", "1Ti", "1Pi", "1Ei", "9Ei", "0.1Ki"),
]
REJECTED = ["1K", "1ki", "1mi", "1e", "1.5.2", "1 Gi", "many"]


def quota(hard: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}


def created(namespace: Namespace, hard: dict[str, str]) -> dict[str, str]:
    """Return the quantities as the API server writes them."""
    words = ("create", "-f", "-", "--dry-run=server", "-o", "json")
    return dict(json.loads(namespace.kubectl(*words, stdin=json.dumps(quota(hard))))["spec"]["hard"])


def test_quantities_rewritten_by_the_api_server_are_equal(namespace: Namespace) -> None:
    written = {text: created(namespace, {"requests.cpu": text})["requests.cpu"] for text in QUANTITIES}
    assert {text: found for text, found in written.items() if not same_quantity(found, text)} == {}
    assert any(text != found for text, found in written.items()), "the API server rewrites quantities"


@pytest.mark.parametrize("text", REJECTED)
def test_quantity_rejected_by_the_api_server_is_rejected_by_ours(namespace: Namespace, text: str) -> None:
    done = namespace.run("create", "-f", "-", "--dry-run=server", stdin=json.dumps(quota({"requests.cpu": text})))
    assert done.returncode, done.stdout
    assert re.fullmatch(TypeAdapter(Quantity).json_schema()["pattern"], text) is None
