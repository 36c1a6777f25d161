"""The benchmark with hostile scans: its servers attack, and its figures are there."""

from __future__ import annotations

import argparse
import asyncio
import gzip

import httpx
import pytest
from benchmarks.scans.hostile import measure
from benchmarks.scans.hostile_servers import BOMB, servers

TOPIC = "/admin/v2/persistent/t/n/a"


def test_honest_scans_are_measured_beside_hostile_ones(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(hostile=2, honest=2, namespaces=1, limit=200.0, linger=0.0)
    with servers("redirect", 2) as running:
        asyncio.run(measure(running, arguments))
        assert running.strangers() == []
    printed = capsys.readouterr().out
    assert "honest, workers created: median" in printed
    assert "realtime, workers created: median" in printed
    assert "not within" not in printed
    assert "/healthz: {200: " in printed


def test_redirects_of_hostile_servers_would_reach_the_pulsar() -> None:
    with servers("redirect", 1) as running:
        url = f"http://127.0.0.1:{running.hostile[0]}{TOPIC}"
        assert httpx.put(url, follow_redirects=True).status_code == 204
        assert running.strangers() == [f"PUT {TOPIC}?redirected=1"]


def test_bomb_is_encoded_twice() -> None:
    with (
        servers("bomb", 1) as running,
        httpx.stream("GET", f"http://127.0.0.1:{running.hostile[0]}{TOPIC}") as answer,
    ):
        raw = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == "gzip, gzip"
    assert len(raw) < BOMB // 1000
    assert len(gzip.decompress(raw)) < BOMB // 500
