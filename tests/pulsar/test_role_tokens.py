"""A Pulsar in which each role of each scan has a token of its own, which the operator signs, grants and renews."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from testing.pulsar.brokers import access_to
from testing.pulsar.server import PulsarServer
from tests.unit.operator.fakes import FakeCluster
from tests.unit.operator.world import SETTINGS, resource

from skymap_api.names import COLLECTOR, PRODUCER, SAVER, WORKER, Names, ScanTopics, TopicBases
from skymap_api.permissions import METADATA_PERMISSIONS, topic_permissions
from skymap_operator.apply import apply
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.decide.actions import Action, DeleteTopics, EnsureTopics, IssueTokens
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarState
from skymap_operator.pulsar.connections import Pulsars
from skymap_scanner.broker import Broker, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerDenied, BrokerError
from skymap_scanner.event.demo import demo_event_path

NAMESPACE, TENANT, ROLES = "alerts", "observatory", (PRODUCER, COLLECTOR, SAVER, WORKER)
#: Lifetime of short tokens (s), when they are renewed, and how often the broker looks for expired ones. With so long a
#: fit, each of the twelve pixels one after the other, a scan takes longer than that.
LIFETIME, RENEWED, CHECKED = 20, 2.0, 1
PIXEL_SECONDS = 2.5


@pytest.fixture(scope="module")
def server(pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """A broker that knows nobody but its administrator."""
    folder = tmp_path_factory.mktemp("signed")
    with PulsarServer(folder, {"authenticationRefreshCheckSeconds": f"{CHECKED}"}, authentication=True) as server:
        body = {"allowedClusters": ["standalone"], "adminRoles": ["skymap-operator"]}
        server.request("PUT", f"/admin/v2/tenants/{TENANT}", body=body).raise_for_status()
        yield server


class Scan:
    """A scan as the operator prepares it, with the tokens of its Secret in files, as pods have them."""

    def __init__(
        self,
        server: PulsarServer,
        folder: Path,
        name: str,
        namespace: str = NAMESPACE,
        lifetime: int = 3600,
        ahead: float = 0.0,
    ) -> None:
        self.server, self.folder = server, folder / f"{namespace}-{name}"
        self.clock = ServerClock(wall=lambda: time.time() + ahead)
        self.folder.mkdir()
        self.settings = SETTINGS.model_copy(
            update={
                "pulsar_service_url": server.url,
                "pulsar_admin_url": server.admin_url,
                "pulsar_tenant": TENANT,
                "pulsar_signing_key_file": str(server.key_file),
                "pulsar_token_seconds": lifetime,
            }
        )
        self.uid = f"uid-of-{namespace}-{name}"
        self.resource = resource({"event": {"simulate": {}}}, namespace=namespace, name=name, uid=self.uid)
        self.names = Names.of(namespace, name)
        self.topics = self.names.topics(TENANT)
        topics = tuple((topic, self.topics.subscriptions(topic)) for topic in self.topics.all())
        self.apply(EnsureTopics(topics))
        self.renew()

    def apply(self, *actions: Action) -> FakeCluster:
        """Perform actions on the real Pulsar, as the operator does."""
        cluster = FakeCluster(self.resource)
        cluster.clock = self.clock

        async def perform() -> None:
            observed = ObservedState(self.clock.now(), ObservedScan.of(self.resource), PulsarState())
            async with Pulsars(cluster, self.settings) as pulsars:
                await apply(actions, observed, cluster, pulsars, self.settings)

        asyncio.run(perform())
        return cluster

    def renew(self) -> None:
        """Issue new tokens and pass them on, as operator and kubelet do."""
        meta = {"name": "tokens", "namespace": self.names.namespace}
        cluster = self.apply(IssueTokens({"kind": "Secret", "metadata": meta}))
        for role, text in cluster.objects["Secret", "tokens"]["data"].items():
            new = self.folder / f"{role}.new"
            new.write_bytes(base64.b64decode(text))
            new.rename(self.token(role))

    def token(self, role: str) -> Path:
        return self.folder / f"{role}.token"

    def open(self, role: str) -> Broker:
        return open_broker(self.server.url, access_to(self.server, self.token(role)))

    def start(self, role: str, *words: object) -> subprocess.Popen[str]:
        where = ["-n", self.names.scan, "--broker", self.server.url, "--admin-url", self.server.admin_url]
        command = [sys.executable, "-P", "-m", "skymap_scanner", role, *words, *where, "--auth-token", self.token(role)]
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def scan(server: PulsarServer, tmp_path: Path) -> Scan:
    return Scan(server, tmp_path, f"first-{time.monotonic_ns()}")


@pytest.fixture
def hasty(server: PulsarServer, tmp_path: Path) -> Scan:
    """A scan whose tokens soon expire: sooner than settings allow, since no kubelet could keep up."""
    return Scan(server, tmp_path, "hasty", lifetime=LIFETIME)


def options(*kinds: str) -> list[str]:
    """The options for base names of topics."""
    bases, letters = TopicBases.of(TENANT, NAMESPACE), {"to_be_scanned": "-t", "scanned": "-s", "collected": "-c"}
    return [word for kind in kinds for word in (letters.get(kind, "-m"), getattr(bases, kind))]


def test_scan_outlives_its_first_tokens(hasty: Scan) -> None:
    scan = hasty
    began, first = time.monotonic(), scan.token(WORKER).read_text()
    dummy = ["--reconstruction", "dummy", "--parameter", f"seconds={PIXEL_SECONDS}"]
    event = [demo_event_path(), "--levels", "1:0", "--seeds", "1", *dummy]
    ended = threading.Event()

    def keep_renewing() -> None:
        while not ended.wait(RENEWED):
            scan.renew()

    renewing = threading.Thread(target=keep_renewing)
    with ExitStack() as stack:
        renewing.start()
        stack.callback(renewing.join)
        stack.callback(ended.set)
        roles = [
            scan.start(PRODUCER, *event, *options("to_be_scanned", "collected", "metadata")),
            scan.start(COLLECTOR, *options("scanned", "collected", "to_be_scanned")),
            scan.start(SAVER, *options("collected", "to_be_scanned"), "-o", "out/scan.i3.zst", "--format", "json"),
        ]
        worker = scan.start(WORKER, *options("to_be_scanned", "scanned"))
        for process in (*roles, worker):
            stack.callback(process.communicate)
            stack.callback(process.kill)
        for process in roles:
            said = process.communicate(timeout=240)[0]
            assert process.returncode == 0, said
        assert time.monotonic() - began > LIFETIME + CHECKED, "no token has expired in this time"
        worker.terminate()
        said = worker.communicate(timeout=60)[0]
        assert worker.returncode == 143, said
    [result] = (scan.folder / "out").glob("run*.json")
    assert len(json.loads(result.read_text())["nside-1"]["data"]) == 12
    scan.token(WORKER).write_text(first)
    with pytest.raises(BrokerError, match="does not accept our credentials"):
        scan.open(WORKER)

    scan.renew()
    with scan.open(PRODUCER) as broker:
        frames = broker.topics(scan.topics.metadata)
    assert len(frames) >= 3
    scan.apply(DeleteTopics((*scan.topics.all(), *frames)))
    for place in ("skymap", f"skymap_metadata-{NAMESPACE}"):
        policies = scan.server.request("GET", f"/admin/v2/namespaces/{TENANT}/{place}").text
        assert scan.uid not in policies, "no permission is left"


def allowed(attempt: Callable[[], object]) -> bool:
    """Return whether the broker lets a role do something. What fails must fail because it is not allowed."""
    try:
        attempt()
    except BrokerDenied:
        return False
    except BrokerError as error:
        if "grant it produce and consume" not in str(error):
            raise
        return False
    return True


def attempts(broker: Broker, topics: ScanTopics, frames: str) -> set[tuple[str, str]]:
    """Try everything on the topics of a scan, and on one with frames; return what is allowed."""
    found = set()
    for topic in (*topics.all(), frames):
        if allowed(lambda topic=topic: broker.producer(topic, "attempt").close()):  # type: ignore[misc]
            found.add((topic, "produce"))
        readers: Sequence[Callable[[], object]] = [
            lambda topic=topic: broker.reader(topic).close(),
            *(
                lambda topic=topic, name=name: broker.consumer(topic, name, SubscriptionType.SHARED).close()
                for name in (*topics.subscriptions(topic), "another")
            ),
        ]
        consumed = {allowed(read) for read in readers}
        assert len(consumed) == 1, f"{topic}: by every subscription, or by none"
        if consumed == {True}:
            found.add((topic, "consume"))
    return found


def test_role_may_do_what_it_needs_and_nothing_else(scan: Scan) -> None:
    frames = f"{scan.topics.metadata}{'0' * 64}"
    with scan.open(PRODUCER) as broker:
        broker.reader(frames).close()  # creates the topic
    permissions = topic_permissions(scan.topics) | {frames: METADATA_PERMISSIONS}
    for role in ROLES:
        with scan.open(role) as broker:
            needed = {(topic, one) for topic, roles in permissions.items() for one in roles.get(role, ())}
            assert attempts(broker, scan.topics, frames) == needed, role
            for refused in (scan.topics.plan, f"{scan.topics.plan}-more"):
                assert not allowed(lambda: broker.delete_topic(refused)), role  # noqa: B023 - called at once
            assert not allowed(lambda: broker.topics(f"persistent://{TENANT}/skymap/")), role


@pytest.mark.parametrize("ahead", [-600, 600])
def test_broker_with_another_clock_accepts_the_tokens(server: PulsarServer, tmp_path: Path, ahead: int) -> None:
    scan = Scan(server, tmp_path, f"clock-{time.monotonic_ns()}", ahead=ahead)  # the operator's own token, too
    for role in ROLES:
        with scan.open(role) as broker:
            broker.reader(scan.topics.plan).close()
    late = Scan(server, tmp_path, f"late-{time.monotonic_ns()}", lifetime=600, ahead=-700)
    with pytest.raises(BrokerError, match="does not accept our credentials"):
        late.open(WORKER)


@pytest.mark.parametrize("namespace", [NAMESPACE, "tests"])
def test_no_role_reaches_the_topics_of_another_scan(scan: Scan, tmp_path: Path, namespace: str) -> None:
    other = Scan(scan.server, tmp_path, "second", namespace)
    frames = f"{other.topics.metadata}{'1' * 64}"
    with other.open(PRODUCER) as broker:
        broker.reader(frames).close()
    shared = {"consume", "produce"} if namespace == NAMESPACE else set()
    for role in ROLES:
        with scan.open(role) as broker:
            found = attempts(broker, other.topics, frames)
            assert found <= {(frames, one) for one in shared}, role
