"""Renewed certificates are used without a restart. `pulsar/test_credentials` renews a client certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from testing.pulsar.certificates import make_certificates
from testing.servers import serving

from skymap_operator.cluster.client import Cluster, Unavailable
from skymap_operator.tls import TlsFiles


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("authorities")
    return [make_certificates(folder / name).authority.read_text() for name in ("old", "new")]


def renew(file: Path, text: str) -> None:
    """Replace a file as the kubelet does in a mounted volume."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_renewed_authority_is_trusted(authorities: list[str], tmp_path: Path) -> None:
    file, context = tmp_path / "ca.crt", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file.write_text(authorities[0])
    files = TlsFiles(context, file)
    assert context.cert_store_stats()["x509_ca"] == 1
    renew(file, authorities[1])
    files.reload()
    assert context.cert_store_stats()["x509_ca"] == 2


def test_missing_file_is_an_error_and_keeps_the_loaded_one(authorities: list[str], tmp_path: Path) -> None:
    file, context = tmp_path / "ca.crt", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file.write_text(authorities[0])
    files = TlsFiles(context, file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        files.reload()
    assert context.cert_store_stats()["x509_ca"] == 1


def test_cluster_accepts_a_server_of_a_renewed_authority(tmp_path: Path) -> None:
    old, new = (make_certificates(tmp_path / name) for name in ("old", "new"))
    file = tmp_path / "ca.crt"
    file.write_text(old.authority.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(new.server, new.server_key)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Pod"})

    async def ask() -> None:
        configuration = Configuration(ssl_ca_cert=str(file))
        async with serving(answer, context) as configuration.host, Cluster(ApiClient(configuration)) as cluster:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await cluster.get("Pod", "ns", "p")
            renew(file, new.authority.read_text())
            assert await cluster.get("Pod", "ns", "p") == {"kind": "Pod"}

    asyncio.run(ask())
