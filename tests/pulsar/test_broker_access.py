"""Credentials and encryption: who has access, clear errors otherwise, and no secret in any message."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from testing.leaving import leave_out
from testing.pulsar.brokers import access_to, number, numbered, plain, take
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable, StoredMessage
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.credentials import Credentials
from skymap_operator.pulsar.messages import MessageReader
from skymap_scanner.broker import Access, Broker, Producer, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

PROVIDERS = "org.apache.pulsar.broker.authentication.AuthenticationProvider"
NAMESPACE = "persistent://icecube/skymap"
ROLE = "worker"


@pytest.fixture(scope="module")
def guarded(pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """A broker that speaks TLS and wants a token or a certificate; topics are made by ``admin`` alone."""
    providers = {
        "authenticationProviders": f"{PROVIDERS}Token,{PROVIDERS}Tls",
        "authenticationRefreshCheckSeconds": "1",
    }
    folder = tmp_path_factory.mktemp("guarded")
    with PulsarServer(folder, providers, authentication=True, tls=True) as server:
        with open_broker(server.url, access_to(server, written(folder, server.token("admin")))) as admin:
            admin.create_topic(f"{NAMESPACE}/first")
        for role in (ROLE, "client"):  # the name in the certificate of the client
            grant(server, role)
        yield server


def grant(server: PulsarServer, role: str) -> None:
    assert server.certificates is not None
    httpx.post(
        f"{server.admin_url}/admin/v2/namespaces/icecube/skymap/permissions/{role}",
        json=["produce", "consume"],
        headers={"Authorization": f"Bearer {server.token('admin')}"},
        verify=ssl.create_default_context(cafile=server.certificates.authority),
    ).raise_for_status()


def written(folder: Path, token: str) -> Path:
    path = folder / f"token-{uuid4().hex}"
    path.write_text(token)
    return path


@pytest.fixture
def topic(guarded: PulsarServer, tmp_path: Path) -> str:
    name = f"{NAMESPACE}/topic-{uuid4().hex[:8]}"
    with open_broker(guarded.url, access_to(guarded, written(tmp_path, guarded.token("admin")))) as admin:
        admin.create_topic(name, ["s"])
    return name


@pytest.fixture
def secrets(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is put here may not appear in any record of the log."""
    caplog.set_level(logging.DEBUG)
    hidden: list[str] = []
    yield hidden
    said = "\n".join(record.getMessage() + str(record.exc_text) for record in caplog.records)
    assert not any(secret in said for secret in hidden)


def assert_serves(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        producer.send(*numbered(range(3)))
    with broker.consumer(topic, "s", SubscriptionType.SHARED) as consumer:
        messages = take(consumer, 3)
        assert [number(message) for message in messages] == [0, 1, 2]
        consumer.ack(*messages)
    with broker.reader(topic) as reader:
        assert [number(message) for message in take(reader, 3)] == [0, 1, 2]


def test_granted_permissions_suffice_for_each_role(
    guarded: PulsarServer, topic: str, tmp_path: Path, secrets: list[str]
) -> None:
    secrets.append(guarded.token(ROLE))
    access = access_to(guarded, written(tmp_path, f"{guarded.token(ROLE)}\n"))
    with open_broker(guarded.url, access) as broker:
        assert_serves(broker, topic)
        for ask in (
            lambda: broker.delete_topic(topic),
            lambda: broker.create_topic(f"{topic}-more"),
            lambda: broker.producer(f"{topic}-missing", "p"),
        ):
            with pytest.raises(BrokerError, match=r"40[13] .*--auth-token FILE") as raised:
                ask()
            assert secrets[0] not in str(raised.value)


def test_token_may_come_from_the_environment(
    guarded: PulsarServer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYMAP_AUTH_TOKEN", guarded.token("admin"))
    with open_broker(guarded.url, access_to(guarded)) as broker:
        assert_serves(broker, topic)
        assert topic in broker.topics(NAMESPACE)


def test_files_may_have_names_with_blanks_and_more(guarded: PulsarServer, topic: str, tmp_path: Path) -> None:
    odd = tmp_path / "a b,c;d%20:ü#1?"
    odd.mkdir()
    access = access_to(guarded, written(odd, guarded.token("admin")))
    assert access.trusted is not None
    (odd / "ca.pem").write_bytes(access.trusted.read_bytes())
    with open_broker(guarded.url, replace(access, trusted=odd / "ca.pem")) as broker:
        assert_serves(broker, topic)


@pytest.mark.parametrize("name", ["\udcfc.token", "\udcfc.pem"])
def test_files_that_the_client_cannot_open_are_named(guarded: PulsarServer, name: str, tmp_path: Path) -> None:
    access = access_to(guarded, written(tmp_path, guarded.token("admin")))
    given, path = access.token_file if name.endswith("token") else access.trusted, tmp_path / name
    assert given is not None
    try:
        path.write_bytes(given.read_bytes())
    except OSError:
        leave_out("this file system has UTF-8 names alone")
    odd = replace(access, token_file=path) if name.endswith("token") else replace(access, trusted=path)
    with pytest.raises(InputError, match=r"Pulsar's client cannot open .* not UTF-8"):
        open_broker(guarded.url, odd)


@pytest.mark.parametrize("bad", ["none", "nonsense", "expired", "signed by another"])
def test_invalid_token_differs_from_an_unavailable_broker(
    guarded: PulsarServer, tmp_path: Path, secrets: list[str], bad: str
) -> None:
    good = guarded.token("admin")
    token = {"nonsense": "s3cr3t", "expired": guarded.token("admin", -60), "signed by another": good[:-4] + "AAAA"}
    file = None if bad == "none" else written(tmp_path, token[bad])
    secrets += token.values()
    with pytest.raises(BrokerError, match=r"does not accept our credentials: check the token") as raised:
        open_broker(guarded.url, access_to(guarded, file))
    assert not isinstance(raised.value, BrokerUnavailable)
    assert guarded.url in str(raised.value)
    assert not any(secret in str(raised.value) for secret in secrets)


def test_role_without_a_grant_is_rejected(guarded: PulsarServer, topic: str, tmp_path: Path) -> None:
    stranger = access_to(guarded, written(tmp_path, guarded.token("stranger")))
    with open_broker(guarded.url, stranger) as broker:
        for use in (
            lambda: broker.producer(topic, "p"),
            lambda: broker.consumer(topic, "s", SubscriptionType.SHARED),
            lambda: broker.consumer(topic, "t", SubscriptionType.FAILOVER),
            lambda: broker.reader(topic),
        ):
            with pytest.raises(BrokerError, match=f"{topic}: .*grant it produce and consume on the namespace"):
                use()
        with pytest.raises(BrokerError, match="--auth-token FILE"):
            broker.topics(NAMESPACE)


def test_unusable_token_file_is_named(guarded: PulsarServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the token in .*missing"):
        open_broker(guarded.url, access_to(guarded, tmp_path / "missing"))
    with pytest.raises(InputError, match="is empty: it must hold the token"):
        open_broker(guarded.url, access_to(guarded, written(tmp_path, "\n")))


# TLS


def test_untrusted_authority_is_rejected(guarded: PulsarServer, tmp_path: Path) -> None:
    token = written(tmp_path, guarded.token("admin"))
    with pytest.raises(BrokerError, match=r"has a certificate that is not trusted .*--tls-trust-certs"):
        open_broker(guarded.url, Access(guarded.admin_url, token))


def test_tls_port_without_tls_is_unavailable(guarded: PulsarServer) -> None:
    with pytest.raises(BrokerError, match="pulsar://localhost"):
        open_broker(guarded.url.replace("pulsar+ssl", "pulsar"), access_to(guarded))


def test_clients_are_identified_by_their_certificates(guarded: PulsarServer, topic: str) -> None:
    assert guarded.certificates is not None
    ours = replace(access_to(guarded), certificate=guarded.certificates.client, key=guarded.certificates.client_key)
    with open_broker(guarded.url, ours) as broker:
        assert_serves(broker, topic)


def test_invalid_certificate_files_are_named(guarded: PulsarServer, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    assert guarded.certificates is not None
    for access in (
        replace(access_to(guarded), trusted=nonsense),
        replace(access_to(guarded), certificate=nonsense, key=nonsense),
        replace(access_to(guarded), certificate=guarded.certificates.client, key=tmp_path / "missing.pem"),
    ):
        with pytest.raises(InputError, match=r"cannot use the TLS files .*pem"):
            open_broker(guarded.url, access)


# Renewal


def test_expired_token_is_read_again(guarded: PulsarServer, topic: str, tmp_path: Path) -> None:
    file = written(tmp_path, guarded.token(ROLE, 4))
    expires = time.monotonic() + 4
    with open_broker(guarded.url, access_to(guarded, file)) as broker, broker.producer(topic, "p") as producer:
        producer.send(*numbered([0]))
        file.write_text(guarded.token(ROLE, 8))  # renewed
        last = 0
        while time.monotonic() < expires + 2:  # the broker checks every second whether a token has expired
            last += 1
            producer.send(*numbered([last]))
        with pytest.raises(BrokerError, match="does not accept our credentials"):  # not renewed
            eventually(lambda: producer.send(*plain([0])))
        file.write_text(guarded.token(ROLE))
        last += 1
        eventually(lambda: sent(producer, last))
        with broker.reader(topic) as reader:
            got = [number(message) for message in iter(lambda: reader.receive(0), None)]
        assert [value for value in got if value] == list(range(1, last + 1))


def sent(producer: Producer, number: int) -> bool:
    with suppress(BrokerError):
        producer.send(*numbered([number]))
        return True
    return False


# The operator


def test_operator_may_use_a_certificate(guarded: PulsarServer, topic: str) -> None:
    assert guarded.certificates is not None
    authority, client = guarded.certificates.authority, guarded.certificates.client

    async def topics(credentials: Credentials) -> frozenset[str]:
        async with PulsarAdmin(guarded.admin_url, credentials) as admin:
            return await admin.topics("icecube", "skymap")

    mine = Credentials(trusted=authority, certificate=client, key=guarded.certificates.client_key)
    assert topic in asyncio.run(topics(mine))
    with pytest.raises(PulsarAdminError, match=r"401 .*Check the token or certificate"):
        asyncio.run(topics(Credentials(trusted=authority)))
    with pytest.raises(PulsarUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(topics(Credentials()))


def test_operator_reads_messages_with_token_or_certificate(guarded: PulsarServer, topic: str, tmp_path: Path) -> None:
    assert guarded.certificates is not None
    authority, client = guarded.certificates.authority, guarded.certificates.client
    with open_broker(guarded.url, access_to(guarded, written(tmp_path, guarded.token(ROLE)))) as broker:
        broker.producer(topic, "saver").send(*plain([7]))

    async def last(credentials: Credentials) -> StoredMessage | None:
        reader = MessageReader(guarded.url, credentials)
        try:
            return await reader.read(topic, "latest")
        finally:
            await reader.close()

    certificate = Credentials(trusted=authority, certificate=client, key=guarded.certificates.client_key)
    for mine in (certificate, Credentials(written(tmp_path, guarded.token("admin")), authority)):
        found = asyncio.run(last(mine))
        assert found is not None
        assert found.payload == b"7"
    for refused in (guarded.token("stranger"), guarded.token("admin", -60)):
        with pytest.raises(PulsarAdminError, match="Check the token or certificate, and whether its role may consume"):
            asyncio.run(last(Credentials(written(tmp_path, refused), authority)))
    with pytest.raises(PulsarUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(last(Credentials()))
