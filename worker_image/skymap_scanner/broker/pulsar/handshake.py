"""The handshake of Pulsar's binary protocol: whether a broker answers, TLS works, and it accepts our credentials.

The client retries for half a minute and then reports "Timeout" for each of these problems. So we connect to the broker
ourselves, once before the client does, and again when the connection is lost.
Source: https://pulsar.apache.org/docs/developing-binary-protocol, and PulsarApi.proto for the numbers below.
"""

from __future__ import annotations

import socket
import ssl
import struct

from skymap_api.protobuf import number, read_fields, text
from skymap_scanner.broker.access import Access, split_url
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

#: Timeout of each step of the handshake (s).
TIMEOUT = 10.0

#: `BaseCommand.Type`, `ServerError` and the version of the protocol that we speak.
CONNECT, ERROR = 2, 14
AUTHENTICATION_ERROR, AUTHORIZATION_ERROR = 3, 4
PROTOCOL_VERSION = 19

#: Largest answer to a handshake (bytes): Pulsar sends a few dozen.
LONGEST = 1 << 16

REFUSED = (
    "does not accept our credentials: check the token (--auth-token FILE: is it this broker's, and not expired?) "
    "or the certificate"
)


def greet(url: str, access: Access) -> None:
    """Connect, send our credentials, and check the broker's answer.

    Raises InputError if the URL or the files of ``access`` cannot be used; BrokerUnavailable if nothing listens or
    answers; BrokerError if it is not Pulsar, TLS fails, or our credentials are refused.
    """
    host, port, encrypted = split_url(url)
    greeting, context = _greeting(access), trust(access)
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as plain:
            if not encrypted:
                answer = _exchange(plain, greeting)
            else:
                with context.wrap_socket(plain, server_hostname=host) as secure:
                    answer = _exchange(secure, greeting)
    except ssl.SSLCertVerificationError as error:
        raise BrokerError(
            f"the broker {url} has a certificate that is not trusted ({error.verify_message}): "
            "give the certificate of its authority with --tls-trust-certs FILE"
        ) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise BrokerUnavailable(f"the broker {url} closed the connection; is {port} its port for TLS?") from error
    except ssl.SSLError as error:
        raise BrokerError(
            f"TLS with the broker {url} failed ({error.reason}): "
            f"is {port} its port for TLS, and does it trust our certificate?"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise BrokerUnavailable(f"cannot reach the broker {url} ({reason}): is it running?") from error
    _judge(answer, url)


def trust(access: Access) -> ssl.SSLContext:
    """Return the TLS context: the trusted certificates, and our own; raises InputError if the files cannot be used."""
    try:
        context = ssl.create_default_context(cafile=access.trusted)
        if access.certificate is not None:
            context.load_cert_chain(access.certificate, access.key)
    except (OSError, ssl.SSLError) as error:
        given = [str(path) for path in (access.trusted, access.certificate, access.key) if path is not None]
        names = ", ".join(given) or "of the environment (SSL_CERT_FILE, SSL_CERT_DIR, SSLKEYLOGFILE)"
        raise InputError(f"cannot use the TLS files {names}: {error}") from error
    return context


def _greeting(access: Access) -> bytes:
    """Return the frame of CommandConnect."""
    if access.certificate is not None:
        method, data = b"tls", b""
    else:
        token = access.token()
        method, data = (b"none", b"") if token is None else (b"token", token.encode())
    connect = text(1, b"skymap-scanner") + text(3, data) + number(4, PROTOCOL_VERSION) + text(5, method)
    command = number(1, CONNECT) + text(CONNECT, connect)
    return struct.pack(">II", len(command) + 4, len(command)) + command


def _exchange(connection: socket.socket, greeting: bytes) -> bytes | None:
    """Return the command that answers the greeting: empty if the broker disconnects, None if it is not Pulsar."""
    connection.sendall(greeting)
    head = _read(connection, 8)
    if len(head) < 8:
        return b""
    size, length = struct.unpack(">II", head)
    if not 0 < length <= LONGEST or size < length + 4:
        return None
    command = _read(connection, length)
    return command if len(command) == length else b""


def _read(connection: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes, or fewer if the connection ends."""
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def _judge(answer: bytes | None, url: str) -> None:
    if answer == b"":
        raise BrokerUnavailable(f"the broker {url} closed the connection without an answer; is its port for TLS?")
    command = read_fields(answer or b"")
    kind = command.get(1)
    if answer is None or not isinstance(kind, int):
        raise BrokerError(
            f"the server at {url} is not a Pulsar broker: is the port right (usually 6650, with TLS 6651)?"
        )
    error = command.get(ERROR, b"")
    if kind == ERROR and isinstance(error, bytes):
        if read_fields(error).get(2) in {AUTHENTICATION_ERROR, AUTHORIZATION_ERROR}:
            raise BrokerError(f"the broker {url} {REFUSED}")
        raise BrokerUnavailable(f"the broker {url} refuses connections at the moment")
