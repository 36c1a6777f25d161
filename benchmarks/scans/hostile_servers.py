"""Servers of the benchmark with hostile scans, in a process of their own.

One is a Pulsar as far as the operator asks it. The hostile ones drip, send what decompresses to much, or redirect to
the first.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import unquote, urlsplit

#: What the bomb decompresses to (bytes).
BOMB = 256 << 20


@dataclass
class Pulsar:
    """Topics by name, with their subscriptions; ``strangers``: requests from hostile servers' redirects."""

    topics: dict[str, set[str]] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)

    def answer(self, method: str, target: str) -> tuple[int, object]:
        """Return status and JSON of the admin interface's answer."""
        if "redirected" in target:
            self.strangers.append(f"{method} {target}")
        parts = unquote(urlsplit(target).path).removeprefix("/admin/v2/").split("/")
        if parts[0] != "persistent":
            return 200, {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
        if len(parts) < 4 or parts[3] == "partitioned":
            prefix = f"{parts[1]}/{parts[2]}/"
            found = [f"persistent://{one}" for one in self.topics if one.startswith(prefix)]
            return 200, found if len(parts) < 4 else []
        return self._about_topic(method, "/".join(parts[1:4]), parts[4:])

    def _about_topic(self, method: str, topic: str, rest: list[str]) -> tuple[int, object]:
        if method == "PUT":
            self.topics.setdefault(topic, set()).update(rest[1:])
            return 204, None
        if method == "DELETE":
            return (204, None) if self.topics.pop(topic, None) is not None else (404, None)
        if rest == ["partitions"]:
            return 200, {"partitions": 0}
        if rest == ["stats"] and topic in self.topics:
            return 200, {"subscriptions": {name: {} for name in self.topics[topic]}}
        return 404, None


async def _head(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Read a request; return its method and target."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next((line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")), "0")
    await reader.readexactly(int(length))
    method, target, _ = head.split(" ", 2)
    return method, target


def _respond(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode() + body)


async def _serve(sender: Connection, attack: str, count: int) -> None:
    pulsar = Pulsar()
    bomb = gzip.compress(gzip.compress(bytes(BOMB), 9), 9)

    async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                status, content = pulsar.answer(*await _head(reader))
                _respond(writer, status, b"" if content is None else json.dumps(content).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, target = await _head(reader)
            if attack == "bomb":
                _respond(writer, 200, bomb, "Content-Encoding: gzip, gzip")
            elif attack == "redirect":
                mark = "&" if "?" in target else "?"
                _respond(writer, 307, b"", f"Location: http://127.0.0.1:{port}{target}{mark}redirected=1")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while not writer.is_closing():
                    writer.write(b"X: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(2.0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    first = await asyncio.start_server(honest, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    others = [await asyncio.start_server(hostile, "127.0.0.1", 0) for _ in range(count)]
    sender.send((port, [one.sockets[0].getsockname()[1] for one in others]))
    while not await asyncio.to_thread(sender.poll, 3600.0):
        pass
    sender.send(pulsar.strangers)
    await asyncio.sleep(3600.0)  # until the process is killed


def _main(sender: Connection, attack: str, count: int) -> None:
    asyncio.run(_serve(sender, attack, count))


class Servers:
    """The running servers: the port of the Pulsar, those of the hostile ones."""

    def __init__(self, ours: Connection) -> None:
        self._ours = ours
        self.pulsar, self.hostile = ours.recv()

    def strangers(self) -> list[str]:
        """Stop, and return the requests that redirects have led to the Pulsar."""
        self._ours.send(None)
        found: list[str] = self._ours.recv()
        return found


@contextmanager
def servers(attack: str, count: int) -> Iterator[Servers]:
    """Run a Pulsar and ``count`` hostile servers while the context is open."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_main, args=(theirs, attack, count), daemon=True)
    process.start()
    try:
        yield Servers(ours)
    finally:
        process.kill()
        process.join()
