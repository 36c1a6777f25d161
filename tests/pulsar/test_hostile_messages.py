"""Messages on a real Pulsar that would fill the memory of their reader, or of the broker."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from testing.pulsar.raw_messages import BATCH, BOMB, COMPRESSION, LZ4, UNCOMPRESSED_SIZE, ZSTD, bomb, publish
from testing.pulsar.server import PulsarAddress
from tests.unit.security.conftest import at_most

from skymap_api.pulsar_admin import StoredMessage, UnreadableMessage
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.messages import MessageReader
from skymap_scanner.broker import Access, Outgoing, open_broker

ZEROS = bomb()


@pytest.fixture
def topic(pulsar_server: PulsarAddress, pulsar_tenant: str) -> str:
    """A topic that the operator has created."""
    name = f"persistent://{pulsar_tenant}/skymap/alerts.alert-progress"

    async def make() -> None:
        async with PulsarAdmin(pulsar_server.admin_url) as admin:
            await admin.prepare(pulsar_tenant, "alerts")
            await admin.create(name)

    asyncio.run(make())
    return name


def read(server: PulsarAddress, topic: str) -> StoredMessage | None:
    async def inside() -> StoredMessage | None:
        reader = MessageReader(server.url)
        try:
            return await reader.read(topic, "latest")
        finally:
            await reader.close()

    return asyncio.run(inside())


@pytest.mark.parametrize(
    ("payload", "metadata", "words"),
    [
        (ZEROS, {COMPRESSION: ZSTD, UNCOMPRESSED_SIZE: BOMB}, f"{BOMB} bytes when it is decompressed"),
        (ZEROS, {COMPRESSION: ZSTD, UNCOMPRESSED_SIZE: 100}, "more than 1048576 bytes"),
        (b"x" * 20, {COMPRESSION: LZ4, UNCOMPRESSED_SIZE: 2**31}, "bytes when it is decompressed"),
        (bytes(2 << 20), {}, "more than 1048576 bytes"),
        (b"\x00\x00\x00\x00x", {BATCH: 1}, "a batch of messages"),
    ],
    ids=["bomb", "bomb with a wrong size", "LZ4", "2 MiB", "batch"],
)
def test_bomb_harms_neither_reader_nor_broker(
    pulsar_server: PulsarAddress, topic: str, payload: bytes, metadata: dict[int, int], words: str
) -> None:
    """The admin interface would decompress the first one, which ends the broker."""
    assert len(ZEROS) < 100_000
    publish(pulsar_server.url, topic, payload, metadata)
    with at_most(24), pytest.raises(UnreadableMessage, match=words):
        read(pulsar_server, topic)
    health = httpx.get(f"{pulsar_server.admin_url}/admin/v2/brokers/health", timeout=30)
    assert (health.status_code, health.text) == (200, "ok")
    body = json.dumps({"text": "x" * 5000}).encode()
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        broker.producer(topic, "saver").send(Outgoing(body))
    found = read(pulsar_server, topic)
    assert found is not None
    assert found.payload == body
