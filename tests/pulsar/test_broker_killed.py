"""A broker that is killed under its users; and processes that end with or without closing, with it or without."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from testing.pulsar.brokers import TIMEOUT, access_to, number, numbered, plain, rest
from testing.pulsar.server import PulsarAddress, PulsarServer
from testing.waiting import eventually

from skymap_scanner.broker import Consumer, Reader, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerUnavailable

TOPIC = "persistent://icecube/skymap/numbers"
COUNT = 1500


def collect(source: Consumer | Reader, into: list[int]) -> None:
    """Receive until all numbers have arrived."""
    deadline = time.monotonic() + 4 * TIMEOUT
    while len(set(into)) < COUNT and time.monotonic() < deadline:
        message = source.receive(1.0)
        if message is not None:
            into.append(number(message))
            if hasattr(source, "ack"):
                source.ack(message)


def test_clients_recover_from_a_killed_broker(
    own_pulsar: Callable[..., PulsarServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_pulsar()
    read: list[int] = []
    received: list[int] = []
    with open_broker(server.url, access_to(server)) as broker, caplog.at_level(logging.WARNING):
        broker.create_topic(TOPIC, ["s"])
        producer, reader = broker.producer(TOPIC, "p"), broker.reader(TOPIC)
        consumer = broker.consumer(TOPIC, "s", SubscriptionType.SHARED)

        def send() -> None:
            for first in range(0, COUNT, 10):
                producer.send(*numbered(range(first, first + 10)))

        threads = [
            threading.Thread(target=send),
            threading.Thread(target=collect, args=(reader, read)),
            threading.Thread(target=collect, args=(consumer, received)),
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: (len(read), len(received)), lambda counts: counts[0] > 100 and counts[1] > 20)
        server.kill()
        server.start()
        for thread in threads:
            thread.join(4 * TIMEOUT)
        assert not any(thread.is_alive() for thread in threads)
        assert read == list(range(COUNT))
        assert sorted(set(received)) == list(range(COUNT))
        assert len(received) < COUNT + 200  # messages acknowledged just before may be delivered again
        with broker.reader(TOPIC) as late:
            assert [number(message) for message in rest(late)] == list(range(COUNT))
        said = [record.getMessage() for record in caplog.records]
        assert len(said) < 20, said

        server.kill()  # and not started again
        future = producer.submit(*plain([0]))
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert isinstance(future.exception(TIMEOUT), BrokerUnavailable)


ENDS = """
import sys
from skymap_scanner.broker import Access, Outgoing, SubscriptionType, open_broker
url, admin, topic, end = sys.argv[1:]
broker = open_broker(url, Access(admin))
producer = broker.producer(topic, "p-" + end)
producer.send(Outgoing(b"0", sequence_id=0), Outgoing(b"1", sequence_id=1))
shared = broker.consumer(topic, end, SubscriptionType.SHARED, ack_timeout=60)
failover = broker.consumer(topic, end + "-failover", SubscriptionType.FAILOVER)
reader = broker.reader(topic)
assert shared.receive(30) and failover.receive(30) and reader.receive(30)
assert shared.receive(30)
assert shared.receive(0.2) is None  # its request stays open
producer.submit(Outgoing(b"2"))
if end == "closed":
    broker.close()
elif end == "raised":
    raise KeyError("broken")
elif end == "exit":
    sys.exit(75)
elif end == "raised-closed":
    with broker:
        raise KeyError("broken")
"""


@pytest.mark.parametrize(
    ("end", "code"), [("closed", 0), ("open", 0), ("raised", 1), ("exit", 75), ("raised-closed", 1)]
)
def test_processes_exit_with_their_own_code(topic: str, pulsar_server: PulsarAddress, end: str, code: int) -> None:
    words = [sys.executable, "-c", ENDS, pulsar_server.url, pulsar_server.admin_url]
    processes = [subprocess.Popen([*words, f"{topic}-{run}", end], stderr=subprocess.PIPE) for run in range(4)]
    ends = [process.communicate(timeout=TIMEOUT)[1].decode() for process in processes]
    for process, said in zip(processes, ends, strict=True):
        assert process.returncode == code, said
        assert ("KeyError: 'broken'" in said) is (code == 1)
        assert "terminate" not in said
