"""The scanner's admin client: redirects, invalid answers, and how namespaces are created."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from testing.pulsar.brokers import number, numbered, take
from testing.pulsar.certificates import make_certificates
from testing.pulsar.server import PulsarAddress

from skymap_scanner.broker import Access, Broker, open_broker
from skymap_scanner.broker.pulsar.admin import PulsarAdmin
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

TOPIC = "persistent://icecube/skymap/scan-fits"
Answer = tuple[int, dict[str, str], str]


class Web:
    """An HTTP server that records its requests and returns ``answer(method, path)``."""

    def __init__(self, answer: Callable[[str, str], Answer], context: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, str, str | None, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                web.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
                status, headers, text = answer(self.command, self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the names of http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Serve = Callable[..., Web]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Web] = []

    def start(answer: Callable[[str, str], Answer], context: ssl.SSLContext | None = None) -> Web:
        servers.append(Web(answer, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def admin_at() -> Callable[..., PulsarAdmin]:
    return lambda url, **access: PulsarAdmin("pulsar://nowhere.invalid", Access(url, **access))


Admin = Callable[..., PulsarAdmin]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cr3t\n")
    return path


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirections_keep_method_body_and_token(serve: Serve, admin_at: Admin, token_file: Path, status: int) -> None:
    owner = serve(lambda *_: (204, {}, ""))
    other = serve(lambda _, path: (status, {"Location": f"{owner.url}{path}"}, ""))
    both = f"{other.url},{owner.url.partition('://')[2]}"
    admin_at(both, token_file=token_file).create_subscription(TOPIC, "worker")
    path = "/admin/v2/persistent/icecube/skymap/scan-fits/subscription/worker"
    assert other.asked == owner.asked == [("PUT", path, "Bearer s3cr3t", '"earliest"')]


def test_relative_redirection_is_followed(serve: Serve, admin_at: Admin) -> None:
    def answer(_: str, path: str) -> Answer:
        if path.endswith("?authoritative=true"):
            return 200, {}, '["persistent://a/b/c"]'
        return 307, {"Location": f"{path}?authoritative=true"}, ""

    assert admin_at(serve(answer).url).topics("persistent://a/b/") == ["persistent://a/b/c"]


def test_endless_redirections_are_an_error(serve: Serve, admin_at: Admin) -> None:
    web = serve(lambda *_: (307, {"Location": ""}, ""))
    with pytest.raises(BrokerUnavailable, match=f"{web.url} refused DELETE .*scan-fits: 307|refused GET"):
        admin_at(web.url).delete_topic(TOPIC)
    assert len(web.asked) == 5


def test_invalid_redirection_is_explained(serve: Serve, admin_at: Admin) -> None:
    web = serve(lambda *_: (307, {"Location": "http://host:port"}, ""))
    with pytest.raises(BrokerUnavailable, match=rf"{web.url} redirects \(307\) to an invalid address"):
        admin_at(web.url).delete_topic(TOPIC)


def test_token_is_never_sent_from_https_to_http(
    serve: Serve, admin_at: Admin, token_file: Path, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    plain = serve(lambda *_: (204, {}, ""))
    secure = serve(lambda _, path: (307, {"Location": f"{plain.url}{path}"}, ""), context)
    admin = admin_at(secure.url, token_file=token_file, trusted=certificates.authority)
    with pytest.raises(BrokerUnavailable, match=r"redirects \(307\) to another scheme, which is not followed"):
        admin.delete_topic(TOPIC)
    assert (len(secure.asked), len(plain.asked)) == (1, 0)
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        admin_at(secure.url).delete_topic(TOPIC)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_error_may_be_retried(serve: Serve, admin_at: Admin, status: int) -> None:
    web = serve(lambda *_: (status, {}, '{"reason": "metadata lost"}'))
    with pytest.raises(BrokerUnavailable, match=f"{web.url} refused .*: {status} [A-Z]"):
        admin_at(web.url).create_topic(TOPIC)


@pytest.mark.parametrize("status", [401, 403])
def test_rejection_names_the_token_without_its_content(
    serve: Serve, admin_at: Admin, token_file: Path, status: int
) -> None:
    web = serve(lambda *_: (status, {}, "no"))
    with pytest.raises(BrokerError, match=f"{status} [A-Z][a-z]+. Check the token \\(--auth-token FILE\\)") as raised:
        admin_at(web.url, token_file=token_file).delete_topic(TOPIC)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("text", ["<html>Hello</html>", "", "{", "null", "42", '"text"', '{"not": "this"}', "[[]]"])
def test_foreign_server_is_named(serve: Serve, admin_at: Admin, text: str) -> None:
    admin = admin_at(serve(lambda *_: (200, {}, text)).url)
    for ask in (
        lambda: admin.topics("persistent://a/b/"),
        lambda: admin.topics("persistent://a/"),
        lambda: admin.topics(""),
        lambda: admin.backlog(TOPIC, "s"),
        lambda: admin.kind(TOPIC, "s"),
    ):
        with pytest.raises(BrokerError):
            ask()


@pytest.mark.parametrize("url", ["nowhere", "ftp://host", "http://", "http://host:port"])
def test_malformed_admin_url_is_an_input_error(admin_at: Admin, url: str) -> None:
    with pytest.raises(InputError, match="admin URL"):
        admin_at(url).delete_topic(TOPIC)


# Namespaces, against the real thing


@pytest.fixture
def rest(pulsar_server: PulsarAddress) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{pulsar_server.admin_url}/admin/v2", timeout=30) as client:
        yield client


POLICIES = ("retention", "deduplication", "autoTopicCreation")
OURS = [{"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}, True, {"allowAutoTopicCreation": False}]


def policies(rest: httpx.Client, topic: str) -> list[object]:
    tenant, namespace = topic.split("/")[2:4]
    answers = [rest.get(f"/namespaces/{tenant}/{namespace}/{policy}") for policy in POLICIES]
    return [json.loads(answer.raise_for_status().text or "null") for answer in answers]


def make_namespace(rest: httpx.Client, topic: str, **retention: int) -> None:
    tenant, namespace = topic.split("/")[2:4]
    clusters = rest.get("/clusters").json()
    rest.put(f"/tenants/{tenant}", json={"allowedClusters": clusters}).raise_for_status()
    rest.put(f"/namespaces/{tenant}/{namespace}").raise_for_status()
    if retention:
        rest.post(f"/namespaces/{tenant}/{namespace}/retention", json=retention).raise_for_status()


def test_tenant_and_namespace_are_created_with_our_policies(broker: Broker, topic: str, rest: httpx.Client) -> None:
    broker.create_topic(topic, ["s"])
    broker.create_topic(topic, ["s", "t"])
    assert policies(rest, topic) == OURS
    assert broker.backlog(topic, "t").waiting == 0


def test_namespace_without_retention_gets_infinite_retention(broker: Broker, topic: str, rest: httpx.Client) -> None:
    make_namespace(rest, topic)
    broker.create_topic(topic)
    assert policies(rest, topic) == [OURS[0], None, None]


def test_finite_retention_is_unchanged(broker: Broker, topic: str, rest: httpx.Client) -> None:
    given = {"retentionTimeInMinutes": 600, "retentionSizeInMB": 100}
    make_namespace(rest, topic, **given)
    broker.create_topic(topic)
    assert policies(rest, topic) == [given, None, None]


def test_zero_retention_becomes_infinite(broker: Broker, topic: str, rest: httpx.Client) -> None:
    make_namespace(rest, topic, retentionTimeInMinutes=0, retentionSizeInMB=0)
    broker.create_topic(topic)
    assert policies(rest, topic)[0] == OURS[0]


def test_missing_topics_are_created_on_opening(broker: Broker, topic: str, rest: httpx.Client) -> None:
    with broker.producer(topic, "p") as producer:
        producer.send(*numbered(range(3)))
    assert policies(rest, topic) == OURS
    other = f"{topic}-other"  # its namespace makes no topics by itself
    with broker.reader(other) as reader:
        assert reader.receive(0) is None
    assert [number(message) for message in take(broker.reader(topic), 3)] == [0, 1, 2]
    assert broker.topics(topic) == [topic, other]


MAKE = """
import sys
from skymap_scanner.broker import Access, open_broker
url, admin, topic = sys.argv[1:]
with open_broker(url, Access(admin)) as broker:
    sys.stdin.readline()
    for number in range(5):
        broker.create_topic(f"{topic}-{number}", ["s", "t"])
"""


def test_same_topic_may_be_created_concurrently(topic: str, pulsar_server: PulsarAddress, rest: httpx.Client) -> None:
    words = [sys.executable, "-c", MAKE, pulsar_server.url, pulsar_server.admin_url, topic]
    pipe = subprocess.PIPE
    makers = [subprocess.Popen(words, stdin=pipe, stderr=pipe, text=True) for _ in range(3)]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("now\n")
        maker.stdin.flush()
    for maker in makers:
        _, said = maker.communicate(timeout=120)
        assert maker.returncode == 0, said
    assert policies(rest, topic) == OURS
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        assert broker.topics(topic) == [f"{topic}-{number}" for number in range(5)]
