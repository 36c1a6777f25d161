"""Brokers that cannot be reached, or are not Pulsar: a clear error at once; and use without the admin interface."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from testing.pulsar.brokers import number, numbered, plain, rest, take
from testing.pulsar.server import PulsarAddress, free_ports

from skymap_scanner.broker import Access, Broker, Outgoing, SubscriptionType, open_broker
from skymap_scanner.broker.pulsar import connection, handshake
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError


def test_missing_broker_is_unavailable() -> None:
    (port,) = free_ports(1)
    url = f"pulsar://127.0.0.1:{port}"
    with pytest.raises(BrokerUnavailable, match=f"cannot reach the broker {url} .Connection refused.: is it running"):
        open_broker(url)


def test_unknown_host_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match=r"cannot reach the broker pulsar://nowhere\.invalid \("):
        open_broker("pulsar://nowhere.invalid")


@pytest.mark.parametrize(
    "url",
    [
        "pulsar://",
        "pulsar:///path",
        "pulsar://host:port",
        "pulsar://host:6650/path",
        "pulsar://host:6650?x=1",
        "pulsar://host:99999",
        "pulsar://[::1",
        "pulsar:host",
        "pulsar+ssl://",
        "pulsar://s3cr3t@host:6650",
        "pulsar://user:s3cr3t@host:6650",
        "pulsar://user:s3cr3t@[::1",
    ],
)
@pytest.mark.parametrize("admin_url", [None, "http://127.0.0.1:1"])
def test_malformed_urls_are_rejected(url: str, admin_url: str | None) -> None:
    with pytest.raises(InputError, match=r"broker '.*': write pulsar://HOST:6650 or pulsar\+ssl://HOST:6651") as raised:
        open_broker(url, Access(admin_url))
    assert "s3cr3t" not in str(raised.value)


def test_admin_port_is_recognised(pulsar_server: PulsarAddress) -> None:
    url = pulsar_server.admin_url.replace("http://", "pulsar://")
    with pytest.raises(BrokerError, match=f"the server at {url} is not a Pulsar broker: is the port right"):
        open_broker(url)
    with pytest.raises(BrokerError, match=r"TLS with the broker pulsar\+ssl://.* failed .*: is \d+ its port for TLS"):
        open_broker(url.replace("pulsar://", "pulsar+ssl://"))


def test_plain_port_is_recognised_by_tls(pulsar_server: PulsarAddress) -> None:
    url = pulsar_server.url.replace("pulsar://", "pulsar+ssl://")
    with pytest.raises(BrokerError, match=r"the broker .*its port for TLS"):
        open_broker(url)


@contextmanager
def saying(*answers: bytes | None) -> Iterator[str]:
    """Listen, and send ``answer`` to each connection; None: send nothing until the test ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent: list[socket.socket] = []

        def serve() -> None:
            for answer in answers:
                client, _ = server.accept()
                client.recv(1000)
                if answer is None:
                    silent.append(client)
                    continue
                with client, suppress(OSError):  # the client may have hung up already
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    client.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"pulsar://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()
            for client in silent:
                client.close()


def frame(command: bytes) -> bytes:
    return struct.pack(">II", len(command) + 4, len(command)) + command


def error_frame(code: int) -> bytes:
    """CommandError: request_id 1, error ``code``, message "no"."""
    error = bytes([8, 1, 16, code, 26, 2]) + b"no"
    return frame(bytes([8, 14, 0x72, len(error)]) + error)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (b"", BrokerUnavailable, "closed the connection without an answer"),
        (b"\0\0", BrokerUnavailable, "closed the connection without an answer"),
        (b"\0\0\0\x30\0\0\0\x2c\x08", BrokerUnavailable, "closed the connection without an answer"),
        (b"\0\0\0\0\0\0\0\x2c\x08", BrokerError, "is not a Pulsar broker"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BrokerError, "is not a Pulsar broker"),
        (b"\x15\x03\x03\x00\x02\x02\x50\x00\x00\x00", BrokerError, "is not a Pulsar broker"),  # an alert of TLS
        (frame(b""), BrokerError, "is not a Pulsar broker"),
        (frame(b"\xff\xff\xff"), BrokerError, "is not a Pulsar broker"),
        (frame(b"\x0a\x03abc"), BrokerError, "is not a Pulsar broker"),
        (error_frame(3), BrokerError, "does not accept our credentials"),
        (error_frame(4), BrokerError, "does not accept our credentials"),
        (error_frame(6), BrokerUnavailable, "refuses connections at the moment"),
    ],
)
def test_invalid_answers_are_explained(answer: bytes, kind: type[BrokerError], says: str) -> None:
    with saying(answer) as url, pytest.raises(kind, match=says) as raised:
        handshake.greet(url, Access())
    assert raised.type is kind
    assert url in str(raised.value)


def test_silent_broker_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT", 0.2)
    with saying(None) as url, pytest.raises(BrokerUnavailable, match=r"cannot reach the broker .*timed out"):
        handshake.greet(url, Access())


def test_valid_answer_is_accepted() -> None:
    with saying(frame(b"\x08\x03\x1a\x00")) as url:
        handshake.greet(url, Access())


def test_messages_need_no_admin_interface(broker: Broker, topic: str, pulsar_server: PulsarAddress) -> None:
    broker.create_topic(topic, ["s"])
    (port,) = free_ports(1)
    nowhere = f"http://127.0.0.1:{port}"
    with open_broker(pulsar_server.url, Access(nowhere)) as lonely:
        producer = lonely.producer(topic, "p")
        producer.send(*numbered(range(3)))
        producer.send(*plain(range(3, 5)))
        assert producer.last_sequence_id == 2
        with lonely.consumer(topic, "s", SubscriptionType.SHARED) as consumer:
            consumer.ack(*take(consumer, 5))
        with lonely.consumer(topic, "late", SubscriptionType.FAILOVER) as consumer:
            assert [number(message) for message in take(consumer, 5)] == list(range(5))
        with lonely.reader(topic) as reader:
            assert [number(message) for message in rest(reader)] == list(range(5))
        for ask in (
            lambda: lonely.topics(topic),
            lambda: lonely.create_topic(topic),
            lambda: lonely.delete_topic(topic),
            lambda: lonely.backlog(topic, "s"),
            lambda: lonely.producer(f"{topic}-missing", "p"),
        ):
            with pytest.raises(BrokerUnavailable, match=f"admin interface at {nowhere} .*is --admin-url right"):
                ask()


# Rejected messages and producer names


@pytest.mark.parametrize("sequence_id", [None, 0])
def test_too_large_message_is_rejected(broker: Broker, topic: str, sequence_id: int | None) -> None:
    size = 5 * 2**20 + 1
    with broker.producer(topic, "p") as producer:
        large = Outgoing(os.urandom(size), key="8/7", sequence_id=sequence_id)
        for _ in range(2):
            with pytest.raises(BrokerError, match=f"storing 8/7 .{size} bytes. on {topic}: .*maxMessageSize"):
                producer.send(large)
        future = producer.submit(large)
        assert isinstance(future.exception(timeout=30), BrokerError)
        assert producer.last_sequence_id == -1
        producer.send(Outgoing(b"0", sequence_id=sequence_id))
        producer.send(*(plain([1]) if sequence_id is None else numbered([0, 1])))
    with broker.reader(topic) as reader:
        assert [number(message) for message in rest(reader)] == [0, 1]


def test_producer_name_has_one_holder_at_a_time(
    broker: Broker,
    topic: str,
    pulsar_server: PulsarAddress,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with broker.producer(topic, "p") as producer:
        producer.send(*numbered(range(3)))
        other = broker.producer(topic, "p")
        other.send(*plain([3]))  # without numbers there is no name to hold
        monkeypatch.setattr(connection, "NAME_TIMEOUT", 0.5)
        with caplog.at_level(logging.WARNING), pytest.raises(BrokerUnavailable, match=f"{topic}.*running twice"):
            other.send(*numbered([4]))
        assert len(caplog.records) == 1
        with pytest.raises(BrokerUnavailable, match="running twice"):
            assert other.last_sequence_id
        producer.send(*numbered(range(5)))
    assert other.last_sequence_id == 4
    other.send(*numbered(range(6)))
    with broker.reader(topic) as reader:
        assert [number(message) for message in rest(reader)] == [0, 1, 2, 3, 3, 4, 5]
