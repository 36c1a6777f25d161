"""The operator's life: it starts, reports why it cannot, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import yaml
from click.testing import CliRunner
from testing.servers import serving
from testing.waiting import eventually_async
from tests.unit.operator.cluster.test_informer import Api
from tests.unit.operator.world import SETTINGS

from skymap_operator.cluster.client import ClusterError
from skymap_operator.main import main, run


def serve(api: Api, test: Callable[[], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with a kubeconfig for the API server."""

    async def inside() -> None:
        async with serving(api.answer) as url, asyncio.timeout(30):
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
            monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
            await test()

    asyncio.run(inside())


async def healthy(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success
        except httpx.ConnectError:
            return False


def test_operator_ends_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api()

    async def test() -> None:
        operator = asyncio.create_task(run(SETTINGS, "127.0.0.1", 0))
        # kopf starts last: it reads the discovery documents.
        listening = lambda: api.requests["GET api"] and re.search(r"/metrics on port (\d+)", caplog.text)  # noqa: E731
        port = await eventually_async(lambda: operator.done() or listening())
        assert isinstance(port, re.Match), "the operator has ended"
        assert await healthy(int(port[1]))
        assert (api.requests["GET skymapscans"], api.requests["watch skymapscans"]) == (1, 1), "kopf watches none"
        began = asyncio.get_running_loop().time()
        os.kill(os.getpid(), signal.SIGTERM)
        await operator
        assert asyncio.get_running_loop().time() - began < 10.0
        assert not await healthy(int(port[1]))

    with caplog.at_level(logging.INFO, "skymap_operator"):
        serve(api, test, tmp_path, monkeypatch)


def test_missing_permission_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        with pytest.raises(ClusterError, match="may not"):
            await run(SETTINGS, "127.0.0.1", 0)

    api = Api()
    api.refused = "jobs"
    serve(api, test, tmp_path, monkeypatch)


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYMAP_OPERATOR_IMAGE", raising=False)
    found = CliRunner().invoke(main, [])
    assert found.exit_code == 1
    assert "SKYMAP_OPERATOR_IMAGE: Field required" in found.output
