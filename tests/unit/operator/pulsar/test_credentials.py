"""The token and the certificates that the operator shows to Pulsar, and their renewal."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from testing.pulsar.certificates import Certificates, make_certificates

from skymap_api.pulsar_admin import PulsarAdminError
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.credentials import Credentials, Tls


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("first") / "certificates")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("second") / "certificates")


def test_token_is_read_for_every_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    for text in ("one", "two"):
        token.write_text(f"{text}\n")
        assert Credentials(token).headers() == {"Authorization": f"Bearer {text}"}
    assert Credentials().headers() == {}


@pytest.mark.parametrize("text", ["tokén", "two words", "two\nlines", "", "a" * 10**6])
def test_file_without_a_token_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text, "utf-8")
    with pytest.raises(PulsarAdminError, match=r"holds a character that no token has|is empty|larger than"):
        Credentials(tmp_path / "token").headers()


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "xn--"])
def test_host_that_no_server_can_have_is_reported(host: str) -> None:
    async def ask() -> None:
        async with PulsarAdmin(f"http://{host}:8080") as admin:
            await admin.create("persistent://tenant/namespace/topic")

    with pytest.raises(PulsarAdminError, match=f"(admin URL|admin interface at) .*{host}"):
        asyncio.run(ask())


def install(source: Certificates, folder: Path) -> Credentials:
    """Put the certificates where the operator reads them, as a mounted Secret does."""
    files = {"ca.crt": source.authority, "tls.crt": source.client, "tls.key": source.client_key}
    for name, path in files.items():
        new = folder / f"{name}.new"
        new.write_bytes(path.read_bytes())
        new.rename(folder / name)
    return Credentials(None, *(folder / name for name in files))


@asynccontextmanager
async def serving(certificates: Certificates) -> AsyncIterator[str]:
    """Answer 404 to clients with a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_renewed_certificate_is_used(tmp_path: Path, first: Certificates, second: Certificates) -> None:
    async def renew() -> None:
        credentials = install(first, tmp_path)
        async with serving(first) as before, serving(second) as after, PulsarAdmin(before, credentials) as admin:
            assert await admin.topics("t", "n") == frozenset()
            other = PulsarAdmin(after, credentials)
            install(second, tmp_path)
            async with other:
                assert await other.topics("t", "n") == frozenset()

    asyncio.run(renew())


def test_half_written_certificates_are_reported_and_read_again(
    tmp_path: Path, first: Certificates, second: Certificates
) -> None:
    tls = Tls(install(first, tmp_path))
    (tmp_path / "tls.crt").write_bytes(second.client.read_bytes())  # the key does not match yet
    with pytest.raises(PulsarAdminError, match=r"cannot use the certificates in .*tls\.crt"):
        tls.reload()
    (tmp_path / "tls.key").write_bytes(second.client_key.read_bytes())
    tls.reload()
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(PulsarAdminError, match=r"cannot use the certificates in .*ca\.crt"):
        tls.reload()
