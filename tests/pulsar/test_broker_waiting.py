"""Transient errors are waited for and logged: an exceeded quota, a frozen producer."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from testing import broker_actor
from testing.pulsar.brokers import QUIET, TIMEOUT, access_to, number, numbered, rest, take
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

from skymap_scanner.broker import Backlog, Broker, Outgoing, SubscriptionType, open_broker

QUOTA = "backlogQuota?backlogQuotaType=destination_storage"


@pytest.fixture(scope="module")
def server(pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """A broker that checks its quotas every second and soon notices a missing client."""
    lines = {"backlogQuotaCheckIntervalInSeconds": "1", "keepAliveIntervalSeconds": "2"}
    with PulsarServer(tmp_path_factory.mktemp("waiting"), lines) as server:
        yield server


@pytest.fixture
def broker(server: PulsarServer) -> Iterator[Broker]:
    with open_broker(server.url, access_to(server)) as broker:
        yield broker


@pytest.mark.parametrize("policy", ["producer_request_hold", "producer_exception"])
def test_exceeded_quota_is_waited_for(
    server: PulsarServer, broker: Broker, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"persistent://{policy}/skymap/tasks"
    broker.create_topic(topic, ["s"])
    namespace = f"{server.admin_url}/admin/v2/namespaces/{policy}/skymap"
    keep = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
    quota = {"limitSize": 20_000, "policy": policy}
    httpx.post(f"{namespace}/{QUOTA}", json=quota, timeout=30).raise_for_status()
    httpx.post(f"{namespace}/retention", json=keep, timeout=30).raise_for_status()
    with caplog.at_level(logging.WARNING), broker.producer(topic, "p") as producer:
        producer.send(*(Outgoing(os.urandom(3000), sequence_id=index) for index in range(12)))
        futures = []

        def held_back() -> bool:
            """Submit until our log shows that the broker has noticed."""
            if not any("quota is exceeded" in record.getMessage() for record in caplog.records):
                if all(future.done() for future in futures):
                    futures.append(producer.submit(Outgoing(b"", sequence_id=12 + len(futures))))
                return False
            return True

        eventually(held_back)
        assert not futures[-1].done()
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(broker.producer, topic, "another")
            eventually(lambda: caplog.text, lambda log: f"a producer on {topic}" in log)
            httpx.delete(f"{namespace}/{QUOTA}", timeout=30).raise_for_status()
            other.result(TIMEOUT).close()
        futures[-1].result(TIMEOUT)
        assert producer.last_sequence_id == 11 + len(futures)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) <= 6, said
    with broker.reader(topic) as reader:
        sizes = [len(message.payload) for message in take(reader, 12 + len(futures))]
        assert sizes == [3000] * 12 + [0] * len(futures)
        assert rest(reader) == []


def test_frozen_producer_is_replaced_without_duplicates(server: PulsarServer, broker: Broker) -> None:
    topic = "persistent://frozen/skymap/fits"
    broker.create_topic(topic, ["s"])
    broker.producer(topic, "p").send(*numbered(range(6)))
    command = [
        sys.executable,
        "-P",
        broker_actor.__file__,
        "hold",
        server.url,
        server.admin_url,
        topic,
        "failover",
        "0",
        "2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert [holder.stdout.readline().strip() for _ in range(3)] == ["ready", "0", "1"]
            with broker.consumer(topic, "s", SubscriptionType.FAILOVER) as standby:
                assert standby.receive(QUIET) is None
                holder.send_signal(signal.SIGSTOP)
                messages = take(standby, 6)
                assert [number(message) for message in messages] == list(range(6))
                standby.ack(*messages[:4])
                holder.send_signal(signal.SIGCONT)
                standby.ack(*messages[4:])
                eventually(lambda: broker.backlog(topic, "s"), lambda backlog: backlog == Backlog(0, 0))
        finally:
            holder.kill()
