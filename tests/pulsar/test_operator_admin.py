"""The operator's admin client and a real Pulsar: topics, statistics, messages, caches and errors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from testing.pulsar.server import PulsarAddress
from testing.waiting import eventually

from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_api.pulsar_statistics import Subscription
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.credentials import Credentials
from skymap_operator.pulsar.messages import MessageReader
from skymap_scanner.broker import Access, Outgoing, SubscriptionType, open_broker

T = TypeVar("T")


@pytest.fixture
def ask(pulsar_server: PulsarAddress) -> Callable[[Callable[[PulsarAdmin], Awaitable[T]]], T]:
    """Ask the session's Pulsar something, and return the answer."""

    def run(question: Callable[[PulsarAdmin], Awaitable[T]]) -> T:
        async def inside() -> T:
            messages = MessageReader(pulsar_server.url)
            async with PulsarAdmin(pulsar_server.admin_url, messages=messages) as admin:
                return await question(admin)

        return asyncio.run(inside())

    return run


async def made(admin: PulsarAdmin, topic: str, subscriptions: Iterable[str] = ()) -> None:
    """Make a topic where nothing has been made before."""
    await admin.prepare(topic.removeprefix("persistent://").partition("/")[0], "alerts")
    await admin.create(topic, subscriptions)


def test_topics_are_created_listed_and_deleted(
    ask: Callable[..., T], pulsar_tenant: str, pulsar_server: PulsarAddress
) -> None:
    names = [f"persistent://{pulsar_tenant}/skymap/{name}" for name in ("a-to_be_scanned", "a-b-to_be_scanned")]
    assert ask(lambda admin: admin.topics(pulsar_tenant, "skymap")) == frozenset()
    for _ in range(2):  # it may be repeated
        ask(lambda admin: admin.prepare(pulsar_tenant, "alerts"))
        for name in names:
            ask(lambda admin, name=name: admin.create(name, ["workers"]))
    assert ask(lambda admin: admin.topics(pulsar_tenant, "skymap")) == frozenset(names)
    assert ask(lambda admin: admin.subscriptions(names[0])) == {"workers": Subscription(0, 0, frozenset())}
    for namespace, opened in (("skymap", False), ("skymap_metadata-alerts", True)):
        policies = httpx.get(f"{pulsar_server.admin_url}/admin/v2/namespaces/{pulsar_tenant}/{namespace}").json()
        assert policies["retention_policies"] == {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
        assert policies["deduplicationEnabled"] is True
        assert policies["autoTopicCreationOverride"]["allowAutoTopicCreation"] is opened
    for _ in range(2):
        ask(lambda admin: admin.delete(names[0]))
    assert ask(lambda admin: admin.topics(pulsar_tenant, "skymap")) == frozenset(names[1:])
    assert ask(lambda admin: admin.subscriptions(names[0])) == {}


def test_statistics_name_busy_consumers(
    ask: Callable[..., T], pulsar_namespace: str, pulsar_server: PulsarAddress
) -> None:
    topic = f"{pulsar_namespace}/scan-to_be_scanned"
    ask(lambda admin: made(admin, topic, ["workers"]))
    with open_broker(pulsar_server.url, Access(admin_url=pulsar_server.admin_url)) as broker:
        broker.producer(topic, "p").send(*(Outgoing(b"task") for _ in range(5)))
        idle, busy = (broker.consumer(topic, "workers", SubscriptionType.SHARED) for _ in range(2))
        assert busy.receive(10) is not None
        look = lambda: ask(lambda admin: admin.subscriptions(topic))["workers"]  # noqa: E731
        eventually(look, lambda found: (found.waiting, found.unacked) == (4, 1))
        assert look().busy == {"127.0.0.1"}
        idle.close()


def test_last_message_is_read_decompressed(
    ask: Callable[..., T], pulsar_namespace: str, pulsar_server: PulsarAddress
) -> None:
    topic = f"{pulsar_namespace}/scan-progress"
    assert ask(lambda admin: admin.last(topic)) is None
    ask(lambda admin: made(admin, topic))
    assert ask(lambda admin: admin.last(topic)) is None
    bodies = [f'{{"number": {number}, "text": "{"x" * 5000}"}}'.encode() for number in range(3)]
    with open_broker(pulsar_server.url, Access(admin_url=pulsar_server.admin_url)) as broker:
        broker.producer(topic, "saver").send(*map(Outgoing, bodies))
    last = ask(lambda admin: admin.last(topic))
    assert last is not None
    assert last.payload == bodies[2]
    assert abs(datetime.now(UTC) - last.published) < timedelta(minutes=10)


def test_partitioned_topic_counts_once(
    ask: Callable[..., T], pulsar_namespace: str, pulsar_server: PulsarAddress
) -> None:
    topic = f"{pulsar_namespace}/scan-to_be_scanned"
    ask(lambda admin: made(admin, f"{pulsar_namespace}/beside"))
    path = topic.replace("://", "/")
    httpx.put(f"{pulsar_server.admin_url}/admin/v2/{path}/partitions", json=3).raise_for_status()
    ask(lambda admin: admin.create(topic, ["workers"]))
    tenant = pulsar_namespace.removeprefix("persistent://").partition("/")[0]
    assert ask(lambda admin: admin.topics(tenant, "skymap")) == {topic, f"{pulsar_namespace}/beside"}
    with open_broker(pulsar_server.url, Access(admin_url=pulsar_server.admin_url)) as broker:
        broker.producer(topic, "p").send(*(Outgoing(b"task") for _ in range(9)))
    eventually(lambda: ask(lambda admin: admin.subscriptions(topic))["workers"], lambda found: found.waiting == 9)
    ask(lambda admin: admin.delete(topic))
    assert ask(lambda admin: admin.topics(tenant, "skymap")) == {f"{pulsar_namespace}/beside"}


def test_pace_of_consumers_is_measured(
    ask: Callable[..., T], pulsar_namespace: str, pulsar_server: PulsarAddress
) -> None:
    topic = f"{pulsar_namespace}/paced-to_be_scanned"
    ask(lambda admin: made(admin, topic, ["workers"]))
    began = time.time()
    with open_broker(pulsar_server.url, Access(admin_url=pulsar_server.admin_url)) as broker:
        broker.producer(topic, "p").send(*(Outgoing(b"task") for _ in range(9)))
        with broker.consumer(topic, "workers", SubscriptionType.SHARED) as tasks:
            for _ in range(5):
                task = tasks.receive(30.0)
                assert task is not None
                tasks.ack(task)
            found = ask(lambda admin: admin.subscriptions(topic))["workers"]
    # Of five messages the last may be in hand still, or one more be on its way.
    assert found.done in {4, 5}
    assert 0 < found.spent < time.time() - began


def test_cached_answers_reflect_own_changes_at_once(
    pulsar_namespace: str, pulsar_server: PulsarAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skymap_operator.pulsar.admin.TOPICS_TTL", 60.0)
    tenant = pulsar_namespace.removeprefix("persistent://").partition("/")[0]
    first, second, others = (f"{pulsar_namespace}/{name}-plan" for name in ("first", "second", "others"))
    asked: Counter[tuple[str, int | None]] = Counter()

    async def inside() -> None:
        messages = MessageReader(pulsar_server.url)
        async with PulsarAdmin(
            pulsar_server.admin_url, on_request=lambda *one: asked.update([one]), messages=messages
        ) as admin:
            await made(admin, first, ["workers"])
            asked.clear()
            lists = await asyncio.gather(*(admin.topics(tenant, "skymap", cached=True) for _ in range(10)))
            assert set(lists) == {frozenset({first})}
            assert asked == {("GET", 200): 2}, "all topics, and those with partitions"
            for _ in range(3):
                await admin.prepare(tenant, "alerts")
                assert await admin.subscriptions(first, cached=True) == {"workers": Subscription(0, 0, frozenset())}
            assert asked == {("GET", 200): 3}
            await admin.create(first, ["workers", "more"])
            await admin.create(second)
            assert await admin.topics(tenant, "skymap", cached=True) == {first, second}
            assert set(await admin.subscriptions(first, cached=True)) == {"workers", "more"}
            httpx.put(f"{pulsar_server.admin_url}/admin/v2/{others.replace('://', '/')}").raise_for_status()
            assert await admin.topics(tenant, "skymap", cached=True) == {first, second}
            assert await admin.topics(tenant, "skymap") == {first, second, others}
            await admin.delete(first)
            assert await admin.topics(tenant, "skymap", cached=True) == {second, others}
            assert await admin.subscriptions(first, cached=True) == {}

    asyncio.run(inside())


def test_errors_are_distinguished(pulsar_namespace: str, tmp_path: Path) -> None:
    def fails(admin: PulsarAdmin, topic: str = f"{pulsar_namespace}/x") -> None:
        async def inside() -> None:
            async with admin:
                await admin.subscriptions(topic)

        asyncio.run(inside())

    with pytest.raises(PulsarUnavailable, match="cannot reach"):
        fails(PulsarAdmin("http://127.0.0.1:9"))
    with pytest.raises(PulsarAdminError, match="write the full name, persistent://tenant"):
        fails(PulsarAdmin("http://127.0.0.1:9"), "x")
    with pytest.raises(PulsarAdminError, match="admin URL"):
        fails(PulsarAdmin("ftp://127.0.0.1:9"))
    with pytest.raises(PulsarAdminError, match="cannot read the token"):
        fails(PulsarAdmin("http://127.0.0.1:9", Credentials(tmp_path / "missing")))
    (tmp_path / "token").write_text("\n")
    with pytest.raises(PulsarAdminError, match="is empty"):
        fails(PulsarAdmin("http://127.0.0.1:9", Credentials(tmp_path / "token")))
    with pytest.raises(PulsarAdminError, match="certificates"):
        PulsarAdmin("https://127.0.0.1:9", Credentials(trusted=tmp_path / "token"))
