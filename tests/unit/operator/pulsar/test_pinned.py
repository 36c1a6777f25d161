"""Connections to the Pulsar of a scan: only to allowed addresses, which are those that were checked."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testing.pulsar.certificates import make_certificates
from tests.unit.security.conftest import Servers

from skymap_api.addresses import Addresses
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.credentials import Credentials
from skymap_operator.pulsar.pinned import PinnedUrl, allowed_address, pinned_url

HERE = Addresses.parse("127.0.0.1")
Resolve = Callable[..., None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let names resolve to the given addresses, the next ones at each resolution; others as usual."""
    usual = socket.getaddrinfo

    def given(name: str, *answers: list[str]) -> None:
        left = list(answers)

        def find(host: Any, port: Any, *words: Any, **options: Any) -> Any:
            if host != name:
                return usual(host, port, *words, **options)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            if not addresses:
                raise socket.gaierror(-2, "Name or service not known")
            families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
            return [(family, 1, 6, "", (one, port)) for family, one in zip(families, addresses, strict=True)]

        monkeypatch.setattr(socket, "getaddrinfo", find)

    return given


@pytest.fixture
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.end()


def answer(body: object, status: str = "200 OK", **headers: str) -> Callable[[socket.socket], None]:
    content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return lambda client: client.sendall("\r\n".join([*lines, "", ""]).encode() + content)


async def _topics(admin_url: str, allowed: Addresses, credentials: Credentials | None = None) -> frozenset[str]:
    async with PulsarAdmin(admin_url, credentials, allowed=allowed) as admin:
        return await admin.topics("icecube", "skymap")


def topics(admin_url: str, allowed: Addresses = HERE) -> frozenset[str]:
    return asyncio.run(_topics(admin_url, allowed))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.96.0.1", "169.254.169.254", "fd00:ec2::254", "168.63.129.16"])
def test_private_addresses_are_refused(resolve: Resolve, address: str) -> None:
    resolve("pulsar.example.org", [address])
    with pytest.raises(PulsarAdminError, match=r"may not connect to pulsar\.example\.org \(.*settings\.allowedPulsars"):
        asyncio.run(allowed_address("pulsar.example.org", 8080, Addresses.parse("public")))


def test_name_that_does_not_resolve_is_unavailable(resolve: Resolve) -> None:
    resolve("pulsar.example.org", [])
    with pytest.raises(PulsarUnavailable, match=r"the name pulsar\.example\.org cannot be resolved"):
        topics("http://pulsar.example.org:8080")


def test_allowed_one_of_several_addresses_is_used(resolve: Resolve) -> None:
    resolve("two.example.org", ["10.0.0.1", "128.104.255.1"])
    found = asyncio.run(pinned_url("https://two.example.org/base/x?a=%2F", Addresses.parse("public")))
    assert found == PinnedUrl("https://128.104.255.1/base/x?a=%2F", "two.example.org", "two.example.org")
    resolve("six.example.org", ["2607:f388::1"])
    found = asyncio.run(pinned_url("http://six.example.org:8080/", Addresses.parse("public")))
    assert found == PinnedUrl("http://[2607:f388::1]:8080/", "six.example.org:8080", "six.example.org")


def test_checked_address_is_connected_whatever_the_name_says_later(resolve: Resolve, servers: Servers) -> None:
    """A second resolution would lead elsewhere (DNS rebinding)."""
    pulsar = servers.start(answer([]))
    resolve("pulsar.example.org", ["127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"])
    assert topics(f"http://pulsar.example.org:{pulsar.port}") == frozenset()
    assert all(f"Host: pulsar.example.org:{pulsar.port}".encode() in request for request in pulsar.requests)
    assert len(pulsar.requests) == 2
    with pytest.raises(PulsarAdminError, match=r"may not connect to pulsar\.example\.org \(169\.254\.169\.254\)"):
        topics(f"http://pulsar.example.org:{pulsar.port}")


def test_redirect_leads_to_no_other_address(resolve: Resolve, servers: Servers) -> None:
    victim = servers.start(answer([]))
    pulsar = servers.start(answer({}, "307 Temporary Redirect", Location=f"http://127.0.0.1:{victim.port}/"))
    resolve("pulsar.example.org", ["127.0.0.2"])
    with pytest.raises(PulsarAdminError):
        topics(f"http://pulsar.example.org:{pulsar.port}", Addresses.parse("127.0.0.2"))
    assert victim.requests == []


def test_certificate_must_be_that_of_the_name(resolve: Resolve, servers: Servers, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)

    def secured(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            secure.recv(65536)
            answer([])(secure)

    pulsar = servers.start(secured, reads=False)
    credentials = Credentials(trusted=certificates.authority)
    resolve("localhost", ["127.0.0.1"])
    assert asyncio.run(_topics(f"https://localhost:{pulsar.port}", HERE, credentials)) == frozenset()
    resolve("pulsar.example.org", ["127.0.0.1"])
    with pytest.raises(PulsarUnavailable, match="certificate"):
        asyncio.run(_topics(f"https://pulsar.example.org:{pulsar.port}", HERE, credentials))
