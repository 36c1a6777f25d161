"""Environments that name what cannot be used: one error each, which shows no password."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from skymap_api.pulsar_admin import PulsarAdminError
from skymap_operator.pulsar.admin import PulsarAdmin as OperatorsAdmin
from skymap_scanner.broker import Access
from skymap_scanner.broker.pulsar.admin import PulsarAdmin
from skymap_scanner.errors import InputError
from skymap_scanner.event.download import download

NO_PROXY = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
PROXIES = ["socks5://user:secret@127.0.0.1:1", "http://user:secret@host:port", "secret:port:1"]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_PROXY:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("proxy", PROXIES)
def test_proxy_that_cannot_be_used_is_one_error(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    for use in (
        lambda: download("http://127.0.0.1:1/event"),
        lambda: PulsarAdmin("pulsar://127.0.0.1", Access()).exists("persistent://tenant/namespace/topic"),
    ):
        with pytest.raises(
            InputError, match=r"the proxy that the environment names is no .* correct \*_PROXY"
        ) as raised:
            use()
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("proxy", PROXIES)
def test_proxy_that_the_operator_cannot_use_is_one_error(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    async def use() -> None:
        async with OperatorsAdmin("http://127.0.0.1:1") as admin:
            await admin.create("persistent://tenant/namespace/topic")

    with pytest.raises(PulsarAdminError, match=r"correct \*_PROXY") as raised:
        asyncio.run(use())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("exceptions", ["localhost,[::1]", "fe11::/16"])
def test_exceptions_from_a_proxy_that_cannot_be_read_are_one_error(
    exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", exceptions)
    with pytest.raises(PulsarAdminError, match=r"NO_PROXY is invalid: correct \*_PROXY"):
        OperatorsAdmin("http://127.0.0.1:1")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_certificates_of_the_environment_that_are_missing_are_one_error(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing" / "file"))
    with pytest.raises(InputError, match=r"the environment names cannot be used.*correct SSL_CERT_FILE"):
        download("https://127.0.0.1:1/event")


def test_python_without_docstrings_is_one_error() -> None:
    program = "from skymap_scanner.healpix import pixel_to_radec; pixel_to_radec(1, [0])"
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=False)
    assert "InputError: healpy needs docstrings" in done.stderr
