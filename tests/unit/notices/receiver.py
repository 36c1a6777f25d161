"""A local server that receives notices, gives configured answers, and records the requests."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testing.pulsar.certificates import Certificates


class Receiver:
    """Answers with the next of ``answers`` (status, headers), the last for ever; ``received``: headers and bodies.

    ``host``: address at which it listens. ``certificates``: those for TLS.
    """

    def __init__(
        self,
        *answers: tuple[int, dict[str, str]],
        host: str = "127.0.0.1",
        certificates: Certificates | None = None,
    ) -> None:
        self.answers = list(answers or [(200, {})])
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.before_answer: Callable[[], object] = lambda: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({key.lower(): value for key, value in self.headers.items()}, body))
                receiver.before_answer()
                status, headers = receiver.answers[0] if len(receiver.answers) == 1 else receiver.answers.pop(0)
                self.connection.settimeout(5)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError):  # the sender was killed, or trusts nobody
                    super().handle()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._origin = f"{'http' if certificates is None else 'https'}://{host}:{self._server.server_port}"
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server, certificates.server_key)
            # The handshake is made by the thread of the connection, with its first read.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        return f"{self._origin}/hook"

    @property
    def keys(self) -> list[str]:
        """The idempotency keys, in the order of the requests."""
        return [headers["webhook-id"] for headers, _ in self.received]

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
