"""A replicated Pulsar on this machine: a ZooKeeper, bookies and brokers as processes of their own, behind a balancer.

Each node can be killed and started again. All are small (1 GB of memory together), and listen on loopback.
Every client needs a token; the role ``admin`` may do everything.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from testing.pulsar.balancer import Balancer
from testing.pulsar.server import START, PulsarAddress, authentication_lines, free_ports, make_token
from testing.waiting import UnavailableError, eventually

NODE = START.with_name("node.sh")
SETTINGS = START.with_name("replicated")

#: Time limit on a busy machine (s) for all nodes to be ready.
START_SECONDS = 280.0

#: Time limit (s) for a node to end after SIGTERM: brokers wait for their clients for ten seconds.
STOP_SECONDS = 60.0

#: Ensemble, write quorum and acknowledgement quorum of BookKeeper.
Quorum = tuple[int, int, int]


@dataclass
class Node:
    """One Java process; ``port`` is that of its clients, and ``web_port`` that of a broker's admin interface."""

    role: str
    folder: Path
    port: int
    web_port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def write(self, lines: Mapping[str, object]) -> None:
        """Write the configuration: that of the role, and these lines."""
        self.folder.mkdir(parents=True, exist_ok=True)
        common = (SETTINGS / f"{self.role}.conf").read_text()
        (self.folder / "node.conf").write_text(common + "".join(f"{key}={value}\n" for key, value in lines.items()))

    def start(self) -> None:
        """Start the process, which is not ready yet."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self._process = run(self.role, self.folder)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop the process with SIGTERM, as an administrator does; raises RuntimeError with its log if it hangs."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"{self.name} did not end within {STOP_SECONDS:g} s\n{self.log()}") from None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Freeze the process until the block ends: connections stay open and nothing answers."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise RuntimeError with its log if the process has ended by itself."""
        if not self.running:
            raise RuntimeError(f"{self.name} has ended\n{self.log()}")

    def logged(self, text: str) -> int:
        """Return how often its log has a text."""
        return sum(path.read_text(errors="replace").count(text) for path in (self.folder / "log").glob("pulsar*.log"))

    def log(self, lines: int = 40) -> str:
        """Return the last lines of its log."""
        paths = (self.folder / "console.log", self.folder / "log" / "pulsar.log")
        shown = [path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else [] for path in paths]
        return "\n".join([f"--- {self.name}", *shown[0], *shown[1]])


def run(role: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a node in its folder; it dies with the thread that starts it (Linux)."""
    with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with (folder / "console.log").open("ab") as console:
        return subprocess.Popen(
            [*with_us, str(NODE), role, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"},
        )


class ReplicatedPulsar:
    """Brokers and bookies with their data in ``folder``; not started yet.

    ``quorum``: the bookies of a ledger, those that get a copy of an entry, and those that must have acknowledged it.
    With two of each, one of three bookies may be lost: a ledger of three could neither go on nor begin.
    """

    def __init__(self, folder: Path, *, brokers: int = 3, bookies: int = 3, quorum: Quorum = (2, 2, 2)) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = secrets.token_bytes(32)
        ports = iter(free_ports(1 + bookies + 2 * brokers))
        self.zookeeper = Node("zookeeper", self.folder / "zookeeper", next(ports))
        self.bookies = [Node("bookie", self.folder / f"bookie-{n}", next(ports)) for n in range(bookies)]
        self.brokers = [Node("broker", self.folder / f"broker-{n}", next(ports), next(ports)) for n in range(brokers)]
        self._quorum = quorum
        self._balancer = Balancer([one.port for one in self.brokers])
        listed = ",".join(f"127.0.0.1:{one.web_port}" for one in self.brokers)
        self.address = PulsarAddress(f"pulsar://127.0.0.1:{self._balancer.port}", f"http://{listed}")
        self._configure()

    @property
    def nodes(self) -> Sequence[Node]:
        return (self.zookeeper, *self.bookies, *self.brokers)

    def start(self) -> None:
        """Start every node; return when each broker can send and receive."""
        with ExitStack() as unless_ready:
            unless_ready.callback(self.close)
            self.zookeeper.start()
            self._format()
            for node in (*self.bookies, *self.brokers):
                node.start()
            self._describe_cluster()
            for broker in self.brokers:
                self.wait_until_ready(broker)
            unless_ready.pop_all()

    def wait_until_ready(self, broker: Node) -> None:
        """Wait for the health check of a broker, which sends a message and reads it again."""

        def health() -> str:
            for node in (self.zookeeper, broker):
                node.check()
            url = f"http://127.0.0.1:{broker.web_port}/admin/v2/brokers/health"
            try:
                answer = httpx.get(url, headers=self._headers(), timeout=30)
            except httpx.HTTPError as error:
                return repr(error)
            return f"{answer.status_code} {answer.text[:200]}"

        try:
            eventually(health, lambda found: found == "200 ok", START_SECONDS)
        except AssertionError as error:
            raise TimeoutError(f"{error}\n" + "\n".join(node.log(20) for node in self.nodes)) from None

    def wait_until_writable(self, bookie: Node) -> None:
        """Wait until a bookie accepts connections."""
        eventually(lambda: bookie.check() or _listens(bookie.port), within=START_SECONDS)

    def request(self, method: str, path: str, json: object = None, *, timeout: float = 30) -> httpx.Response:
        """Call the REST interface as ``admin``; redirects to the broker that owns a topic are followed."""
        url = f"http://127.0.0.1:{next(one.web_port for one in self.brokers if one.running)}{path}"
        with httpx.Client(timeout=timeout, headers=self._headers()) as client:
            answer = client.request(method, url, json=json)
            while answer.is_redirect:  # followed here, since httpx sends no token to another port
                answer = client.request(method, answer.headers["location"], json=json)
            return answer

    def owner(self, topic: str) -> Node:
        """Return the broker that serves a topic (``persistent://tenant/namespace/name``)."""

        def lookup() -> Node:
            answer = self.request("GET", f"/lookup/v2/topic/{topic.replace('://', '/')}")
            if not answer.is_success:
                raise UnavailableError(f"{answer.status_code} {answer.text[:200]}")
            port = int(answer.json()["brokerUrl"].rpartition(":")[2])
            return next(broker for broker in self.brokers if broker.port == port)

        return eventually(lookup)

    def leader(self) -> Node:
        """Return the broker that the others have elected to distribute the topics."""

        def elected() -> Node:
            answer = self.request("GET", "/admin/v2/brokers/leaderBroker")
            if not answer.is_success:
                raise UnavailableError(f"{answer.status_code} {answer.text[:200]}")
            port = int(answer.json()["serviceUrl"].rpartition(":")[2])
            return next(broker for broker in self.brokers if broker.web_port == port)

        return eventually(elected)

    def copies(self, topic: str) -> list[Node]:
        """Return the bookies that store what is sent to a topic now."""
        path = f"/admin/v2/{topic.replace('://', '/')}/internalStats?metadata=true"
        answer = self.request("GET", path)
        if not answer.is_success:
            raise UnavailableError(f"{answer.status_code} {answer.text[:200]}")
        # A ledger has a list of bookies for each range of its entries; the last one counts.
        ensembles = re.findall(r"\d+=\[([^]]*)\]", answer.json()["ledgers"][-1]["metadata"])
        ports = {int(address.rpartition(":")[2]) for address in ensembles[-1].split(",")}
        return [bookie for bookie in self.bookies if bookie.port in ports]

    def token(self, subject: str, expires_in: float | None = None) -> str:
        """Return a token for the role ``subject`` that expires in so many seconds, or never."""
        return make_token(self._key, subject, expires_in)

    def close(self) -> None:
        """Kill every node."""
        self._balancer.close()
        for node in reversed(self.nodes):
            node.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token('admin', 60)}"}

    def _configure(self) -> None:
        store = f"zk:127.0.0.1:{self.zookeeper.port}"
        self.zookeeper.write(
            {
                "dataDir": self.zookeeper.folder / "data",
                "clientPort": self.zookeeper.port,
                "clientPortAddress": "127.0.0.1",
            }
        )
        for bookie in self.bookies:
            bookie.write(
                {
                    "bookiePort": bookie.port,
                    "advertisedAddress": "127.0.0.1",
                    "metadataServiceUri": f"metadata-store:{store}",
                    "journalDirectories": bookie.folder / "journal",
                    "ledgerDirectories": bookie.folder / "ledgers",
                }
            )
        for broker in self.brokers:
            broker.folder.mkdir(exist_ok=True)
            broker.write(
                {
                    "metadataStoreUrl": store,
                    "configurationMetadataStoreUrl": store,
                    "bindAddress": "127.0.0.1",
                    "advertisedAddress": "127.0.0.1",
                    "brokerServicePort": broker.port,
                    "webServicePort": broker.web_port,
                    "managedLedgerDefaultEnsembleSize": self._quorum[0],
                    "managedLedgerDefaultWriteQuorum": self._quorum[1],
                    "managedLedgerDefaultAckQuorum": self._quorum[2],
                    "authenticationRefreshCheckSeconds": 2,
                    **authentication_lines(self._key, broker.folder),
                }
            )

    def _format(self) -> None:
        """Prepare ZooKeeper for the bookies."""
        eventually(lambda: self.zookeeper.check() or _listens(self.zookeeper.port), within=START_SECONDS)
        if run("format", self.bookies[0].folder).wait(START_SECONDS) != 0:
            raise RuntimeError(f"ZooKeeper cannot be prepared\n{self.bookies[0].log()}")

    def _describe_cluster(self) -> None:
        """Create what Pulsar's own tool for a new cluster creates, by the REST interface."""
        first = self.brokers[0]
        eventually(lambda: first.check() or _listens(first.web_port), within=START_SECONDS)
        cluster = {"serviceUrl": self.address.admin_url, "brokerServiceUrl": self.address.url}
        tenant = {"adminRoles": [], "allowedClusters": ["replicated"]}
        for path, content in (
            ("clusters/replicated", cluster),
            ("tenants/pulsar", tenant),
            ("namespaces/pulsar/system", {"replication_clusters": ["replicated"]}),
        ):
            self.request("PUT", f"/admin/v2/{path}", content).raise_for_status()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
