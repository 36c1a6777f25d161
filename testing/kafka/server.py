"""A real Kafka (KRaft) that a test owns, on free ports, with and without OpenID Connect."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType
from confluent_kafka.admin import ResourceType as Kind

from testing.pulsar.server import free_ports
from testing.waiting import eventually

START = Path(__file__).resolve().parents[2] / "dev" / "kafka" / "start.sh"
#: Time limit of a start on a busy machine (s); on an idle one it takes 5 s.
START_SECONDS = 120.0
#: The client that may publish; see `TokenServer`.
CLIENT, SECRET = "icecube", "a secret of the client"


class KafkaServer:
    """A broker with its data in ``folder``; start it as a context manager.

    At ``plain`` everybody may do everything. At ``secured`` clients need a token of `TokenServer`, and may do only what
    `allow` permits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        plain, secured, controller = free_ports(3)
        self.plain, self.secured = f"127.0.0.1:{plain}", f"127.0.0.1:{secured}"
        module = "org.apache.kafka.common.security.oauthbearer"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAIN://{self.plain},SECURED://{self.secured},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAIN://{self.plain},SECURED://{self.secured}",
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SECURED:SASL_PLAINTEXT",
            "listener.name.secured.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.secured.oauthbearer.sasl.jaas.config": f"{module}.OAuthBearerLoginModule required;",
            "listener.name.secured.oauthbearer.sasl.server.callback.handler.class": (
                f"{module}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "log.dirs": str(folder / "data"),
            "num.partitions": "3",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*with_us, str(START), str(self.folder)], stdout=log, stderr=log)
        eventually(self._answers, within=START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self._admin().list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

    def allow(self, topic_prefix: str, *operations: AclOperation) -> None:
        """Allow `CLIENT` these operations on the topics with a prefix."""
        rules = [
            AclBinding(
                Kind.TOPIC,
                topic_prefix,
                ResourcePatternType.PREFIXED,
                f"User:{CLIENT}",
                "*",
                one,
                AclPermissionType.ALLOW,
            )
            for one in operations
        ]
        admin = self._admin()  # its requests end when it is deleted
        for done in admin.create_acls(rules).values():
            done.result(30)

    def wait_for(self, topic: str, count: int) -> None:
        """Wait until a topic has so many messages."""
        watcher = Consumer({"bootstrap.servers": self.plain, "group.id": "watcher", "log_level": 0})
        places = [TopicPartition(topic, one) for one in range(3)]
        try:
            eventually(
                lambda: sum(watcher.get_watermark_offsets(one, 5)[1] for one in places), lambda sent: sent >= count
            )
        finally:
            watcher.close()

    def messages(
        self, topic: str, consumer: Callable[[dict[str, Any]], Consumer] = Consumer
    ) -> list[tuple[str, bytes]]:
        """Return key and value of everything in a topic, read by a client that subscribes."""
        reader = consumer(
            {
                "bootstrap.servers": self.plain,
                "security.protocol": "plaintext",
                "group.id": f"test-{time.monotonic_ns()}",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "topic.metadata.refresh.interval.ms": 500,
                "log_level": 0,
            }
        )
        partitions = set(reader.list_topics(topic, 10).topics[topic].partitions)
        reader.subscribe([topic])
        found: list[tuple[str, bytes]] = []
        deadline = time.monotonic() + 30
        while partitions:
            assert time.monotonic() < deadline, "the topic cannot be read"
            message = reader.poll(1)
            if message is None:
                continue
            if message.error() is not None:
                partitions.discard(message.partition())
            else:
                found.append((message.key().decode(), message.value()))
        reader.close()
        return found


class TokenServer:
    """Gives tokens to `CLIENT` by the client credentials grant; ``requests`` counts them, ``refuse`` rejects all."""

    def __init__(self) -> None:
        self.requests = 0
        self.refuse = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.requests += 1
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
                known = given == f"{CLIENT}:{SECRET}" and form.get("grant_type") == ["client_credentials"]
                # The refusal repeats what was sent, as a careless server might.
                answer = (
                    {"access_token": _token(), "expires_in": 600} if known and not server.refuse else {"error": given}
                )
                body = json.dumps(answer).encode()
                self.send_response(200 if "access_token" in answer else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/oauth2/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _token() -> str:
    """Return a token that the broker's handler for tests accepts: without a signature."""
    claims = {"sub": CLIENT, "iat": time.time() - 1, "exp": time.time() + 600}
    parts = ({"alg": "none"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + "."


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The Kafka of this session."""
    tools = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if tools and not os.environ.get("CI"):
        pytest.skip(f"needs a real Kafka, and {', '.join(tools)} to run it: see make kafka-install")
    installed = subprocess.run([str(START.with_name("install.sh"))], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.fail(f"Kafka cannot be installed: {installed.stderr}", pytrace=False)
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server
