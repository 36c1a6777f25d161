"""The embedded broker: full disks, locks, damage, interrupted writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from skymap_scanner.broker import Backlog, Outgoing
from skymap_scanner.broker.sqlite import database
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

from .conftest import SHARED, TOPIC, open_at


def test_full_disk_is_explained_and_loses_nothing(path: Path) -> None:
    with open_at(path) as broker:
        producer = broker.producer(TOPIC, "p")
        producer.send(Outgoing(b"kept", sequence_id=0))
        ((pages,),) = producer._database.read("PRAGMA page_count")
        producer._database.read(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(BrokerError, match=r"the disk is full .* free some space") as caught:
            producer.send(Outgoing(b"small", sequence_id=1), Outgoing(bytes(10**6), sequence_id=2))
        assert str(path) in str(caught.value)
        assert producer.last_sequence_id == 0
        producer._database.read("PRAGMA max_page_count=1000000")
        producer.send(Outgoing(b"later", sequence_id=1))
        reader = broker.reader(TOPIC)
        assert [message.payload for message in (reader.receive(0), reader.receive(0)) if message] == [b"kept", b"later"]


def test_consumer_on_a_full_disk_still_gives_back(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        consumer = broker.consumer(TOPIC, "s", SHARED)
        assert consumer.receive(0) is not None
        consumer._database.read("PRAGMA query_only=1")  # every write fails, as on a full disk
        consumer.close()
        assert broker.backlog(TOPIC, "s") == Backlog(waiting=1, unacked=0)


def test_lock_held_for_long_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    with open_at(path) as broker, sqlite3.connect(path, isolation_level=None) as other:
        producer = broker.producer(TOPIC, "p")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable, match="another process kept it locked"):
            producer.send(Outgoing(b"x"))
        other.execute("ROLLBACK")
        producer.send(Outgoing(b"x"))
    other.close()


def test_damaged_file_is_named(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(*(Outgoing(bytes(1000)) for _ in range(200)))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(BrokerError, match=r"damaged .* move it away") as caught, open_at(path) as broker:
        broker.reader(TOPIC).receive(0)
    assert str(path) in str(caught.value)


def test_topic_deleted_while_in_use_is_an_error(path: Path) -> None:
    with open_at(path) as broker:
        producer, reader = broker.producer(TOPIC, "p"), broker.reader(TOPIC)
        consumer = broker.consumer(TOPIC, "s", SHARED)
        broker.delete_topic(TOPIC)
        for use in (lambda: producer.send(Outgoing(b"")), lambda: reader.receive(0), lambda: consumer.receive(0)):
            with pytest.raises(BrokerError, match="deleted"):
                use()


def test_invalid_unicode_is_an_error(path: Path) -> None:
    with open_at(path) as broker, pytest.raises(BrokerError, match="not valid Unicode"):
        broker.producer(TOPIC, "p").send(Outgoing(b"", key="\udc80"))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_invalid_ack_timeout_is_an_error(path: Path, seconds: float) -> None:
    with open_at(path) as broker, pytest.raises(InputError, match="ack_timeout"):
        broker.consumer(TOPIC, "s", SHARED, ack_timeout=seconds)


def test_interrupted_transaction_is_rolled_back(path: Path) -> None:
    class Interrupted(dict[str, str]):
        def __iter__(self):  # stands for Ctrl-C in the middle of a send
            raise KeyboardInterrupt

        keys = __iter__

    with open_at(path) as broker:
        producer = broker.producer(TOPIC, "p")
        with pytest.raises(KeyboardInterrupt):
            producer.send(Outgoing(b"a"), Outgoing(b"b", properties=Interrupted()))
        producer.send(Outgoing(b"c"))
        message = broker.reader(TOPIC).receive(0)
        assert message is not None
        assert message.payload == b"c"
