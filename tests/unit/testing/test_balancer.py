"""The load balancer in front of replicated brokers."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from testing.pulsar.balancer import Balancer
from testing.waiting import eventually


def serve(answer: bytes) -> socket.socket:
    """Start a server that sends ``answer`` and then echoes what the client has sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(answer + rest(connection))

    threading.Thread(target=accept, daemon=True).start()
    return listener


def ask(port: int) -> bytes:
    """Return the answer; nothing where no server listens, so that the balancer closes the connection at any moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client, suppress(OSError):
        client.sendall(b"?")
        client.shutdown(socket.SHUT_WR)
        return rest(client)
    return b""


def rest(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(100), b""))


def test_connections_go_to_servers_that_listen() -> None:
    first, second = serve(b"1"), serve(b"2")
    balancer = Balancer([one.getsockname()[1] for one in (first, second)])
    assert {ask(balancer.port) for _ in range(4)} == {b"1?", b"2?"}
    first.shutdown(socket.SHUT_RDWR)
    first.close()
    assert {ask(balancer.port) for _ in range(4)} == {b"2?"}
    second.shutdown(socket.SHUT_RDWR)
    second.close()
    assert ask(balancer.port) == b""
    balancer.close()
    eventually(lambda: not listens(balancer.port))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
