from __future__ import annotations

import contextlib
import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skymap_scanner.errors import InputError
from skymap_scanner.event.download import download
from skymap_scanner.event.download_options import Credentials, DownloadLimits

CONTENT = b"an event" * 1000
SECRET = "s3cr3t-pa55word"  # noqa: S105 - a made-up one, to look for in messages
QUICK = DownloadLimits(size=100_000, idle_timeout=5, attempts=3, backoff=0.25)


@dataclass
class Server:
    """A real server on a free port: the path chooses the response, and the requests are recorded."""

    url: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    other: str = ""


class Handler(BaseHTTPRequestHandler):
    book: Server

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization")
        self.book.asked.append((self.path, authorization))
        kind = self.path.partition("?")[0].strip("/")
        first = sum(path == self.path for path, _ in self.book.asked) == 1
        answers: dict[str, Callable[[], None]] = {
            "plain": lambda: self.answer(200, CONTENT),
            "basic": lambda: self.answer(
                200 if authorization == "Basic dXNlcjpzM2NyM3QtcGE1NXdvcmQ=" else 401, CONTENT
            ),
            "bearer": lambda: self.answer(200 if authorization == f"Bearer {SECRET}" else 403, CONTENT),
            "flaky": lambda: self.answer(503, b"", retry_after="7") if first else self.answer(200, CONTENT),
            "cut-once": lambda: self.answer(200, CONTENT[:100] if first else CONTENT, length=len(CONTENT)),
            "drop-once": lambda: None if first else self.answer(200, CONTENT),
            "drop": lambda: None,
            "gzip": lambda: self.answer(200, gzip.compress(CONTENT), encoding="gzip"),
            "bomb": lambda: self.answer(200, gzip.compress(bytes(10_000_000)), encoding="gzip"),
            "not-gzip": lambda: self.answer(200, CONTENT, encoding="gzip"),
            "declared": lambda: self.answer(200, b"", length=10**12),
            "endless": lambda: self.answer(200, CONTENT * 100, length=None),
            "elsewhere": lambda: self.answer(302, b"", location=f"{self.book.other}/plain"),
            "here": lambda: self.answer(302, b"", location="/bearer"),
            "loop": lambda: self.answer(302, b"", location="/loop"),
            "file": lambda: self.answer(302, b"", location="file:///etc/passwd"),
        }
        answers.get(kind, lambda: self.answer(int(kind), b""))()
        self.close_connection = True

    def answer(
        self,
        status: int,
        body: bytes,
        *,
        length: int | None = -1,
        location: str | None = None,
        encoding: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in (("Location", location), ("Content-Encoding", encoding), ("Retry-After", retry_after)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has closed the connection
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    books = []
    running = []
    for _ in range(2):
        handler = type("BookedHandler", (Handler,), {})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        handler.book = Server(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        books.append(handler.book)
        running.append(server)
    books[0].other = books[1].url
    yield books[0], books[1]
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    return servers[0]


def fetch(
    url: str, credentials: Credentials | None = None, limits: DownloadLimits = QUICK
) -> tuple[bytes, list[float]]:
    waits: list[float] = []
    return download(url, credentials, limits=limits, sleep=waits.append), waits


TOKEN = Credentials(token=SECRET)
USER = Credentials(user="user", password=SECRET)


def test_content_is_returned_unchanged(server: Server) -> None:
    assert fetch(f"{server.url}/plain") == (CONTENT, [])
    assert server.asked == [("/plain", None)]


def test_content_encoding_is_decoded(server: Server) -> None:
    assert fetch(f"{server.url}/gzip")[0] == CONTENT


def test_credentials_of_both_kinds_are_sent(server: Server) -> None:
    assert fetch(f"{server.url}/basic", USER)[0] == CONTENT
    assert fetch(f"{server.url}/bearer", TOKEN)[0] == CONTENT


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_missing_credentials_are_reported(server: Server, kind: str) -> None:
    with pytest.raises(InputError, match=r"40[13] .*: set SKYMAP_EVENT_TOKEN, or SKYMAP_EVENT_USER"):
        fetch(f"{server.url}/{kind}")
    assert len(server.asked) == 1


def test_rejected_credentials_are_not_retried(server: Server) -> None:
    with pytest.raises(InputError, match="does not accept the credentials"):
        fetch(f"{server.url}/basic", TOKEN)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 501])
def test_permanent_http_errors_are_not_retried(server: Server, status: int) -> None:
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:\d+/{status}: {status}"):
        fetch(f"{server.url}/{status}")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_temporary_http_errors_are_retried_a_limited_number_of_times(server: Server, status: int) -> None:
    waits: list[float] = []
    with pytest.raises(InputError, match=rf"{status}.*\(attempts: 3\)"):
        download(f"{server.url}/{status}", limits=QUICK, sleep=waits.append)
    assert len(server.asked) == 3
    assert len(waits) == 2
    assert 0.125 <= waits[0] <= 0.25 <= waits[1] <= 0.5


def test_retry_after_header_sets_the_wait(server: Server) -> None:
    assert fetch(f"{server.url}/flaky") == (CONTENT, [7.0])


@pytest.mark.parametrize("kind", ["cut-once", "drop-once"])
def test_broken_connection_is_retried(server: Server, kind: str) -> None:
    content, waits = fetch(f"{server.url}/{kind}")
    assert content == CONTENT
    assert len(waits) == 1


def test_unreachable_server_is_one_error_after_all_attempts() -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:9/event: .*\(attempts: 3\)$"):
        fetch("http://127.0.0.1:9/event")


@pytest.mark.parametrize("kind", ["endless", "declared", "bomb"])
def test_endless_body_is_cut_off_at_the_size_limit(server: Server, kind: str) -> None:
    with pytest.raises(InputError, match="more than the 100000 bytes allowed"):
        fetch(f"{server.url}/{kind}")


def test_slow_body_is_cut_off_at_the_time_limit(server: Server) -> None:
    with pytest.raises(InputError, match="not finished after 0 s"):
        fetch(f"{server.url}/endless", limits=DownloadLimits(duration=0))


@pytest.mark.parametrize("kind", ["loop", "file", "not-gzip"])
def test_invalid_response_is_one_error(server: Server, kind: str) -> None:
    with pytest.raises(InputError, match=f"/{kind}: "):
        fetch(f"{server.url}/{kind}")


def test_credentials_follow_redirects_on_the_same_server_only(servers: tuple[Server, Server]) -> None:
    here, there = servers
    assert fetch(f"{here.url}/here", TOKEN)[0] == CONTENT
    assert fetch(f"{here.url}/elsewhere", TOKEN)[0] == CONTENT
    assert here.asked == [(path, f"Bearer {SECRET}") for path in ("/here", "/bearer", "/elsewhere")]
    assert there.asked == [("/plain", None)]


@pytest.mark.parametrize("kind", ["plain", "503", "404", "basic", "loop", "declared", "drop"])
@pytest.mark.parametrize("credentials", [TOKEN, USER], ids=["token", "user"])
def test_errors_and_logs_contain_no_secrets(
    server: Server, kind: str, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in (None, "httpx", "httpcore"):  # the command line may have set other levels
        caplog.set_level(logging.DEBUG, logger=logger)
    shown = repr(credentials)
    try:
        fetch(f"{server.url}/{kind}?signature=abcdef", credentials)
    except InputError as error:
        shown += str(error) + repr(error.__cause__)
    shown += caplog.text
    assert f"/{kind}" in shown
    for secret in (SECRET, "dXNlcjp", "abcdef"):
        assert secret not in shown


@pytest.mark.parametrize("url", ["http://user:pw@host/event", "https://token@host/event"])
def test_credentials_in_a_url_are_rejected_unprinted(url: str) -> None:
    with pytest.raises(InputError, match="the URL of host holds a user or password") as raised:
        download(url)
    assert "pw" not in str(raised.value).replace("SKYMAP_EVENT_PASSWORD", "")
    assert "token" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["ftp://host/event", "file:///etc/passwd", "http:///event", "http://host:port/x", "http://[::1/x"]
)
def test_unsupported_urls_are_rejected(url: str) -> None:
    with pytest.raises(InputError, match=r"only http:// and https:// are fetched|not a valid URL"):
        download(url)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "é..b", "xn--", "xn--a-ÿ"])
def test_hosts_that_no_server_can_have_are_rejected(host: str) -> None:
    with pytest.raises(InputError, match=r"not a name that a server can have|Invalid IDNA hostname"):
        download(f"http://{host}/event")


def test_credentials_come_from_the_environment() -> None:
    assert Credentials.from_environment({}) is None
    assert Credentials.from_environment({"SKYMAP_EVENT_TOKEN": ""}) is None
    assert Credentials.from_environment({"SKYMAP_EVENT_TOKEN": SECRET}) == TOKEN
    both = {"SKYMAP_EVENT_USER": "user", "SKYMAP_EVENT_PASSWORD": SECRET}
    assert Credentials.from_environment(both) == USER


def test_credentials_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET + "\n")
    environment = {"SKYMAP_EVENT_USER": "user", "SKYMAP_EVENT_PASSWORD_FILE": str(tmp_path / "password")}
    assert Credentials.from_environment(environment) == USER


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SKYMAP_EVENT_USER": "user"}, "must be set together"),
        ({"SKYMAP_EVENT_PASSWORD": SECRET}, "must be set together"),
        ({"SKYMAP_EVENT_TOKEN": SECRET, "SKYMAP_EVENT_USER": "user"}, "SKYMAP_EVENT_TOKEN excludes"),
        ({"SKYMAP_EVENT_TOKEN": SECRET, "SKYMAP_EVENT_TOKEN_FILE": "x"}, "are both set"),
        ({"SKYMAP_EVENT_TOKEN_FILE": "/no/such/file"}, "SKYMAP_EVENT_TOKEN_FILE: cannot read /no/such/file"),
        ({"SKYMAP_EVENT_TOKEN_FILE": "/dev/zero"}, "cannot read /dev/zero: .*larger than the 16384 bytes"),
        ({"SKYMAP_EVENT_TOKEN": f"{SECRET}\nX-Header: 1"}, "SKYMAP_EVENT_TOKEN holds a character"),
        ({"SKYMAP_EVENT_TOKEN": f"{SECRET}é"}, "SKYMAP_EVENT_TOKEN holds a character"),
    ],
)
def test_contradicting_credentials_are_rejected_unprinted(environment: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        Credentials.from_environment(environment)
    assert SECRET not in str(raised.value)
