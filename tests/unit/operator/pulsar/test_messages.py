"""Reading messages of a broker that misbehaves; `tests/pulsar/test_hostile_messages.py` reads from a real one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import zstandard
from testing.servers import accept_connections
from tests.unit.security.conftest import at_most

from skymap_api.addresses import Addresses
from skymap_api.protobuf import number, read_fields, text
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable, StoredMessage, UnreadableMessage
from skymap_api.pulsar_protocol import Kind
from skymap_operator.pulsar import messages
from skymap_operator.pulsar.credentials import Credentials
from skymap_operator.pulsar.messages import MAX_MESSAGE, MessageReader

TOPIC = "persistent://icecube/skymap/alerts.alert-progress"
METADATA = text(1, b"saver") + number(2, 7) + number(3, 1_767_225_600_000)
PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")
Handler = Callable[["Broker", int, dict[int, int | bytes]], bytes | None]


def frame(kind: int, content: bytes = b"", rest: bytes = b"") -> bytes:
    command = number(1, kind) + text(kind, content)
    return struct.pack(">II", len(command) + 4 + len(rest), len(command)) + command + rest


def message(consumer: int, payload: bytes, metadata: bytes = METADATA) -> bytes:
    place = number(1, consumer) + text(2, number(1, 3) + number(2, 5))
    return frame(Kind.MESSAGE, place, struct.pack(">I", len(metadata)) + metadata + payload)


class Broker:
    """A broker with one message. ``special`` answers some commands instead; None: as usual; empty: not at all."""

    def __init__(
        self, payload: bytes = b"snapshot", metadata: bytes = METADATA, special: Handler | None = None
    ) -> None:
        self.payload, self.metadata = payload, metadata
        self.special: Handler = special or (lambda *_: None)
        self.port = 0
        self.seen: list[tuple[int, dict[int, int | bytes]]] = []
        self.connections = 0
        self.open: dict[asyncio.StreamWriter, asyncio.Event] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ended = self.open[writer] = asyncio.Event()
        try:
            while True:
                total, size = struct.unpack(">II", await reader.readexactly(8))
                fields = read_fields(await reader.readexactly(size))
                await reader.readexactly(total - size - 4)
                kind, content = fields[1], fields[int(fields[1])]
                assert isinstance(kind, int)
                assert isinstance(content, bytes)
                inner = read_fields(content)
                self.seen.append((kind, inner))
                answer = self.special(self, kind, inner)
                writer.write(self.usual(kind, inner) if answer is None else answer)
        except (EOFError, OSError):
            writer.transport.abort()
        finally:
            ended.set()

    async def end(self) -> None:
        """End all connections, and wait until their tasks have ended, too."""
        await accept_connections()
        for writer, ended in self.open.items():
            writer.transport.abort()
            await ended.wait()

    def usual(self, kind: int, fields: dict[int, int | bytes]) -> bytes:
        if kind == Kind.CONNECT:
            return frame(Kind.CONNECTED, text(1, b"broker"))
        if kind == Kind.LOOKUP:
            here = f"pulsar://127.0.0.1:{self.port}".encode()
            return frame(Kind.LOOKUP_RESPONSE, text(1, here) + number(3, 1) + number(4, int(fields[2])))
        if kind == Kind.GET_LAST_MESSAGE_ID:
            last = text(1, number(1, 3) + number(2, 5))
            return frame(Kind.LAST_MESSAGE_ID, last + number(2, int(fields[2])))
        if kind == Kind.FLOW:
            return message(int(fields[1]), self.payload, self.metadata)
        numbered = {Kind.SUBSCRIBE: 5, Kind.CLOSE_CONSUMER: 2}
        return frame(Kind.SUCCESS, number(1, int(fields[numbered[Kind(kind)]]))) if kind in numbered else b""

    def count(self, kind: Kind) -> int:
        return sum(one == kind for one, _ in self.seen)


@asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[str]:
    async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
        broker.port = server.sockets[0].getsockname()[1]
        try:
            yield f"pulsar://127.0.0.1:{broker.port}"
        finally:
            await broker.end()


def read(broker: Broker, position: messages.Position = "latest", **options: Addresses) -> StoredMessage | None:
    async def one(reader: MessageReader) -> StoredMessage | None:
        return await reader.read(TOPIC, position)

    return run(broker, one, **options)


def run(broker: Broker, what: Callable[[MessageReader], Awaitable[T]], **options: Addresses) -> T:
    async def inside() -> T:
        async with listening(broker) as url:
            reader = MessageReader(url, **options)
            try:
                return await what(reader)
            finally:
                await reader.close()
                await broker.end()

    return asyncio.run(inside())


@pytest.mark.parametrize(("position", "consumers"), [("earliest", 1), ("latest", 2)])
def test_message_is_read_over_one_connection_that_is_kept(position: messages.Position, consumers: int) -> None:
    broker = Broker()

    async def twice(reader: MessageReader) -> None:
        for _ in range(2):
            assert await reader.read(TOPIC, position) == StoredMessage(b"snapshot", PUBLISHED)
        while broker.count(Kind.CLOSE_CONSUMER) < 2 * consumers:  # the last one is still on its way
            await asyncio.sleep(0.001)

    run(broker, twice)
    assert broker.connections == 1
    assert broker.count(Kind.SUBSCRIBE) == broker.count(Kind.CLOSE_CONSUMER) == 2 * consumers
    starts = [fields[9] for kind, fields in broker.seen if kind == Kind.SUBSCRIBE]
    before, last = number(1, -1) + number(2, -1), number(1, 3) + number(2, 5)
    assert starts == [before, last][:consumers] * 2
    names = {fields[2] for kind, fields in broker.seen if kind == Kind.SUBSCRIBE}
    assert len(names) == 2 * consumers, "two readers never share a subscription"


def test_empty_or_missing_topic_has_no_message() -> None:
    def empty(_: Broker, kind: int, fields: dict[int, int | bytes]) -> bytes | None:
        last = text(1, number(1, 3) + number(2, -1))
        return frame(Kind.LAST_MESSAGE_ID, last + number(2, int(fields[2]))) if kind == 29 else None

    def missing(_: Broker, kind: int, fields: dict[int, int | bytes]) -> bytes | None:
        return frame(Kind.ERROR, number(1, int(fields[5])) + number(2, 11)) if kind == Kind.SUBSCRIBE else None

    assert read(Broker(special=empty)) is None
    assert read(Broker(special=missing)) is None


def compressed(payload: bytes, stated: int, method: int = 3) -> tuple[bytes, bytes]:
    return zstandard.ZstdCompressor().compress(payload), METADATA + number(8, method) + number(9, stated)


def test_compressed_message_is_decompressed() -> None:
    payload, metadata = compressed(b"x" * MAX_MESSAGE, MAX_MESSAGE)
    assert read(Broker(payload, metadata)) == StoredMessage(b"x" * MAX_MESSAGE, PUBLISHED)


@pytest.mark.parametrize(
    ("payload", "metadata", "words"),
    [
        (*compressed(b"x" * 9, 1 << 31), "2147483648 bytes when it is decompressed, more than 1048576"),
        (*compressed(bytes(400 << 20), 9), "more than 1048576 bytes"),
        (*compressed(b"x" * 9, 9, method=1), "compressed with LZ4, and roles use ZSTD"),
        (*compressed(b"x" * 9, 9, method=9), "compressed with an unknown method"),
        (b"no frame", METADATA + number(8, 3) + number(9, 9), "cannot be decompressed"),
        (bytes(MAX_MESSAGE + 1), METADATA, "more than 1048576 bytes"),
        (b"x", METADATA + number(11, 5), "a batch of messages, not a single message"),
        (b"x", METADATA + text(13, b"key"), "encrypted, not a single message"),
        (b"x", text(1, b"saver") + number(3, 2**63), "beyond the year 9999"),
    ],
)
def test_message_that_is_too_large_or_unusual_is_not_read(payload: bytes, metadata: bytes, words: str) -> None:
    broker = Broker(payload, metadata)
    with at_most(24), pytest.raises(UnreadableMessage, match=words) as raised:
        read(broker)
    assert str(raised.value).startswith(TOPIC)


def test_window_of_a_compressed_message_is_bounded() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    sender = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    payload = sender.compress(b"x" * 9) + sender.flush()
    with pytest.raises(UnreadableMessage, match="cannot be decompressed"):
        read(Broker(payload, METADATA + number(8, 3) + number(9, 9)))


def refusing(at: Kind, code: int) -> Handler:
    def answer(_: Broker, kind: int, fields: dict[int, int | bytes]) -> bytes | None:
        if kind != at:
            return None
        if at == Kind.LOOKUP:
            return frame(Kind.LOOKUP_RESPONSE, number(3, 2) + number(4, int(fields[2])) + number(6, code))
        request = int(fields[5]) if at == Kind.SUBSCRIBE else 0
        return frame(Kind.ERROR, number(1, request) + number(2, code) + text(3, b"words of the server"))

    return answer


@pytest.mark.parametrize("at", [Kind.CONNECT, Kind.LOOKUP, Kind.SUBSCRIBE])
@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [(3, PulsarAdminError, "Check the token"), (4, PulsarAdminError, "may consume"), (6, PulsarUnavailable, "error 6")],
)
def test_refusal_is_explained_in_our_words(at: Kind, code: int, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        read(Broker(special=refusing(at, code)))
    assert type(raised.value) is kind
    assert "server" not in str(raised.value)


def test_check_connects_and_reads_nothing() -> None:
    broker = Broker()
    run(broker, MessageReader.check)
    assert [kind for kind, _ in broker.seen] == [Kind.CONNECT]
    with pytest.raises(PulsarAdminError, match=r"refuses the connection\. Check the token"):
        run(Broker(special=refusing(Kind.CONNECT, 3)), MessageReader.check)
    with pytest.raises(PulsarUnavailable, match="cannot reach Pulsar's broker at pulsar://127"):
        asyncio.run(MessageReader("pulsar://127.0.0.1:1").check())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100,
        b"\xff" * 100,
        struct.pack(">II", 5, 1) + b"\x00",
        struct.pack(">II", 3, 7) + b"1234567",
        frame(Kind.PING, b"", bytes(100_000)),
    ],
)
def test_server_of_another_kind_is_recognised(answer: bytes) -> None:
    with at_most(8), pytest.raises(PulsarUnavailable, match=r"does not speak Pulsar's protocol|not asked for|closed"):
        read(Broker(special=lambda *_: answer))


def test_server_that_sends_nothing_or_pings_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "TIMEOUT", 0.3)
    with pytest.raises(PulsarUnavailable, match=r"does not answer within 0\.3 s"):
        read(Broker(special=lambda *_: b""))

    def pings(_: Broker, kind: int, __: dict[int, int | bytes]) -> bytes | None:
        return frame(Kind.PING) if kind in {Kind.LOOKUP, Kind.PONG} else None

    broker = Broker(special=pings)
    with pytest.raises(PulsarUnavailable, match=r"does not answer within 0\.3 s"):
        read(broker)
    assert broker.count(Kind.PONG) > 1


def leading(where: Callable[[Broker], str], kind: int = 1, more: bytes = b"") -> Handler:
    """Answer lookups with the URL of a broker; ``kind``: 0 to ask there again, 1 to connect there."""

    def answer(broker: Broker, command: int, fields: dict[int, int | bytes]) -> bytes | None:
        if command != Kind.LOOKUP:
            return None
        content = text(1, where(broker).encode()) + number(3, kind) + number(4, int(fields[2]))
        return frame(Kind.LOOKUP_RESPONSE, content + more)

    return answer


def test_lookup_is_followed_to_the_broker_and_through_a_proxy() -> None:
    async def inside() -> None:
        owner, proxy = Broker(), Broker()
        async with listening(owner) as there, listening(proxy) as url:
            for through in (0, 1):
                proxy.special = leading(lambda _: there, more=number(8, through))
                reader = MessageReader(url)
                assert await reader.read(TOPIC, "latest") == StoredMessage(b"snapshot", PUBLISHED)
                await reader.close()
            assert owner.count(Kind.FLOW) == proxy.count(Kind.FLOW) == 1
            behind = [fields.get(6) for kind, fields in proxy.seen if kind == Kind.CONNECT]
            assert behind == [None, None, f"127.0.0.1:{owner.port}".encode()]

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        (b"pulsar://10.0.0.1:6650", PulsarAdminError, r"may not connect to 10\.0\.0\.1"),
        (b"pulsar://169.254.169.254:80", PulsarAdminError, "may not connect to 169"),
        (b"pulsar+ssl://127.0.0.1:6651", PulsarAdminError, "to another kind of broker: refused"),
        (b"http://127.0.0.1:80", PulsarUnavailable, "names no broker"),
        (b"", PulsarUnavailable, "names no broker"),
    ],
)
def test_lookup_leads_to_allowed_brokers_only(url: bytes, kind: type[Exception], words: str) -> None:
    broker = Broker(special=leading(lambda _: url.decode()))
    with pytest.raises(kind, match=words):
        read(broker, allowed=Addresses.parse("127.0.0.1"))


def test_endless_lookup_ends() -> None:
    broker = Broker(special=leading(lambda here: f"pulsar://127.0.0.1:{here.port}", kind=0))
    with pytest.raises(PulsarUnavailable, match="leads from broker to broker"):
        read(broker)
    assert broker.count(Kind.LOOKUP) == messages.MAX_LOOKUPS


def test_closed_connection_is_replaced_once() -> None:
    async def inside() -> None:
        broker = Broker()
        async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
            broker.port = server.sockets[0].getsockname()[1]
            reader = MessageReader(f"pulsar://127.0.0.1:1,127.0.0.1:{broker.port}")  # nothing listens on the first
            assert await reader.read(TOPIC, "latest") is not None
            for idle in [one for some in reader._idle.values() for one in some]:
                idle.connection._writer.transport.abort()
            assert await reader.read(TOPIC, "latest") is not None
            assert broker.connections == 2
            server.close()
            await reader.close()
            await broker.end()
            with pytest.raises(PulsarUnavailable, match="cannot reach Pulsar's broker at pulsar://127"):
                await reader.read(TOPIC, "latest")

    asyncio.run(inside())


def test_credentials_are_sent_with_the_first_frame(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("jwt\n")
    broker = Broker()

    async def inside() -> None:
        async with listening(broker) as url:
            reader = MessageReader(url, Credentials(tmp_path / "token"))
            await reader.read(TOPIC, "latest")
            await reader.close()

    asyncio.run(inside())
    connected = [fields for kind, fields in broker.seen if kind == Kind.CONNECT]
    assert connected == [{1: b"skymap-operator", 3: b"jwt", 4: 19, 5: b"token"}]


@pytest.mark.parametrize("url", ["http://a:6650", "pulsar://", "pulsar://u:p@a:6650", "pulsar://a:port"])
def test_url_of_no_broker_is_rejected(url: str) -> None:
    with pytest.raises(PulsarAdminError, match="write pulsar://HOST:6650"):
        MessageReader(url)
