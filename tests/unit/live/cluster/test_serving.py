"""The server's certificate, and its renewal."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path

import httpx
import pytest
from testing.pulsar.certificates import Certificates, make_certificates
from tests.unit.live.cluster.conftest import FakeApi, no_broker, serving

from skymap_scanner.errors import InputError
from skymap_scanner.live.cluster import serving as module
from skymap_scanner.live.cluster.serving import ServingCertificate


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "made")


def shown_name(certificate: ServingCertificate, trusted: Path) -> str:
    """Return the common name of the certificate that a client sees."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        with certificate.context.wrap_socket(theirs, server_side=True) as connection:
            connection.recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    context = ssl.create_default_context(cafile=trusted)
    context.check_hostname = False
    with context.wrap_socket(ours) as client:
        found = client.getpeercert()
        client.send(b"x")
    thread.join(10)
    assert found is not None
    return str(dict(entry[0] for entry in found["subject"])["commonName"])  # type: ignore[misc]


def replace(path: Path, content: bytes) -> None:
    """Replace a file, as a renewed Secret does."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_renewed_certificate_is_served(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_INTERVAL", 0.0)
    served = ServingCertificate(made.server, made.server_key)
    assert shown_name(served, made.authority) == "localhost"
    replace(made.server_key, b"half written")
    served.reload()
    assert shown_name(served, made.authority) == "localhost"
    replace(made.server, made.client.read_bytes())
    replace(made.server_key, made.client_key.read_bytes())
    served.reload()
    assert shown_name(served, made.authority) == "client"


def test_browsers_are_told_to_use_https_alone(made: Certificates) -> None:
    context = ServingCertificate(made.server, made.server_key).context
    for tls, said in ((context, "max-age=31536000"), (None, None)):
        with serving(FakeApi(), no_broker, "sqlite", tls) as server:
            answer = httpx.get(server.url, verify=False)  # noqa: S501 - its certificate has another name
            assert answer.headers.get("Strict-Transport-Security") == said


def test_unusable_certificates_are_reported(made: Certificates) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        ServingCertificate(made.server, made.client_key)
    with pytest.raises(InputError, match="cannot be used"):
        ServingCertificate(made.server, made.authority.with_name("none"))
