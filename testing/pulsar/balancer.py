"""A load balancer for TCP on loopback, as in front of replicated brokers: each connection goes to one that listens."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

#: Time for a server to accept a connection (s); one that is dead refuses at once.
CONNECT_SECONDS = 2.0


class Balancer:
    """Listens on a free port, and passes each connection on to one of the ``ports``, in turn."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._next = itertools.cycle(ports)
        self._count = len(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections; those that are open stay until one side ends them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        if server is None:
            client.close()
            return
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()
        client.close()
        server.close()

    def _connect(self) -> socket.socket | None:
        for _ in range(self._count):
            with suppress(OSError):
                server = socket.create_connection(("127.0.0.1", next(self._next)), timeout=CONNECT_SECONDS)
                server.settimeout(None)
                return server
        return None


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and let the target know."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
