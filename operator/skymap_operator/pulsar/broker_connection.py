"""A connection to one Pulsar broker: frames with a limit on their size, one request at a time."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from skymap_api.pulsar_protocol import Command, Kind, connect, pong, read_command

#: Longest command (bytes); what follows it is the message. Brokers' answers have some hundred bytes.
MAX_COMMAND = 1 << 16

_PORTS = {"pulsar": 6650, "pulsar+ssl": 6651}


class Lost(Exception):  # noqa: N818 - a state of the connection
    """There is no connection, or none any more; the message has our own words and those of the system."""


class BrokerError(Exception):
    """The broker answers with an error; ``code`` is its `ServerError`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker listens; ``behind``: HOST:PORT of the broker to which the proxy there shall lead."""

    scheme: str
    host: str
    port: int
    behind: str | None = None

    @classmethod
    def parse(cls, url: str) -> Place:
        """Parse ``pulsar://HOST:PORT`` or ``pulsar+ssl://HOST:PORT``. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
            raise ValueError("not the URL of a broker")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme == "pulsar+ssl"


class BrokerConnection:
    """A connection over which commands are sent and received in turn. Methods raise Lost when it ends."""

    def __init__(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.place = place
        self._reader = reader
        self._writer = writer
        self._numbers = 0
        self.closed = False

    def close(self) -> None:
        """Close it at once; twice does nothing."""
        self.closed = True
        self._writer.transport.abort()

    def number(self) -> int:
        """Return a number that no request or consumer of this connection has had."""
        self._numbers += 1
        return self._numbers

    def send(self, frame: bytes) -> None:
        """Send a frame without waiting."""
        self._writer.write(frame)

    async def authenticate(self, method: str, data: bytes) -> None:
        """Send the first frame, and wait until the broker accepts it. Raises BrokerError if it does not."""
        self.send(connect(method, data, self.place.behind))
        answer, _ = await self.receive(lambda one: one.kind in {Kind.CONNECTED, Kind.ERROR})
        if answer.kind == Kind.ERROR:
            raise BrokerError(answer.number(2))

    async def ask(self, make: Callable[[int], bytes]) -> Command:
        """Send a request, made of its number, and return its answer. Raises BrokerError if that is an error."""
        request = self.number()
        self.send(make(request))
        answer, _ = await self.receive(lambda one: _answers(one, request))
        if answer.kind == Kind.ERROR:
            raise BrokerError(answer.number(2))
        return answer

    async def receive(
        self, wanted: Callable[[Command], bool], longest: int = MAX_COMMAND
    ) -> tuple[Command, bytes | None]:
        """Return the next command that is wanted, with what follows it: None, and closed, if that is too long."""
        while True:
            try:
                command, left = await self._command()
                rest = None if left > longest else await self._reader.readexactly(left)
            except (OSError, EOFError) as error:
                self.close()
                raise Lost(_reason(error)) from error
            if wanted(command):
                if rest is None:
                    self.close()
                return command, rest
            if rest is None:
                self.close()
                raise Lost("the broker sends what was not asked for")
            if command.kind == Kind.PING:
                self.send(pong())

    async def _command(self) -> tuple[Command, int]:
        """Read a command; return it with the number of bytes that follow."""
        total, size = struct.unpack(">II", await self._reader.readexactly(8))
        if not 0 < size <= MAX_COMMAND or total < size + 4:
            self.close()
            raise Lost("the server does not speak Pulsar's protocol")
        try:
            return read_command(await self._reader.readexactly(size)), total - size - 4
        except ValueError as error:
            self.close()
            raise Lost("the server does not speak Pulsar's protocol") from error


async def connect_to(
    place: Place, address: str, context: ssl.SSLContext | None, method: str, data: bytes
) -> BrokerConnection:
    """Connect to a broker at a network address and authenticate. Raises Lost, or BrokerError if it refuses."""
    try:
        reader, writer = await asyncio.open_connection(
            address, place.port, ssl=context, server_hostname=None if context is None else place.host
        )
    except (OSError, UnicodeError) as error:
        raise Lost(_reason(error)) from error
    connection = BrokerConnection(place, reader, writer)
    try:
        await connection.authenticate(method, data)
    except BaseException:
        connection.close()
        raise
    return connection


#: The field with the number of the request in each kind of answer.
_REQUESTS = {Kind.SUCCESS: 1, Kind.ERROR: 1, Kind.LOOKUP_RESPONSE: 4, Kind.LAST_MESSAGE_ID: 2}


def _answers(command: Command, request: int) -> bool:
    return command.kind in _REQUESTS and command.number(_REQUESTS[Kind(command.kind)]) == request


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "the broker closed the connection"
    return str(error) or type(error).__name__
