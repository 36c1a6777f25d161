"""A Pulsar with authorization: the operator administers one tenant; the roles of a scan only produce and consume."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from testing.pulsar.brokers import access_to
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

from skymap_api.names import ScanTopics, TopicBases
from skymap_api.permissions import PAGE_PERMISSIONS
from skymap_api.progress import ProgressPhase, decode_progress
from skymap_api.pulsar_admin import PulsarAdminError
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.credentials import Credentials
from skymap_operator.pulsar.messages import MessageReader
from skymap_scanner.broker import Broker, Outgoing, open_broker
from skymap_scanner.errors import BrokerError
from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.live.follower import Follower
from skymap_scanner.roles.topics import read_metadata

TENANT, OPERATOR, ROLE, PAGE = "observatory", "skymap-operator", "skymap-scan", "skymap-page"
SCAN = "alerts.first"
TOPICS = ScanTopics.of(SCAN, TopicBases.of(TENANT, "alerts"))
TOPIC_OPTIONS = {"to_be_scanned": "-t", "scanned": "-s", "collected": "-c"}


@pytest.fixture(scope="module")
def guarded(pulsar_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """A broker with a tenant for the operator and nothing else."""
    with PulsarServer(tmp_path_factory.mktemp("guarded"), authentication=True) as server:
        body = {"allowedClusters": ["standalone"], "adminRoles": [OPERATOR]}
        send(server, "PUT", f"tenants/{TENANT}", server.token("admin"), body)
        yield server


def send(server: PulsarServer, method: str, path: str, token: str, body: object = None) -> int:
    """Send a request to the admin interface; return the status."""
    url, headers = f"{server.admin_url}/admin/v2/{path}", {"Authorization": f"Bearer {token}"}
    answer = httpx.request(method, url, headers=headers, timeout=30, **({} if body is None else {"json": body}))
    assert body is None or answer.is_success, answer.text
    return answer.status_code


@pytest.fixture
def token(guarded: PulsarServer, tmp_path: Path) -> Path:
    """The token of the scan's pods."""
    path = tmp_path / "token"
    path.write_text(guarded.token(ROLE))
    return path


def prepare(server: PulsarServer, folder: Path, role: str | None, who: str = OPERATOR) -> None:
    """Create the topics as the operator does before it creates pods."""
    mine = folder / "operator-token"
    mine.write_text(server.token(who))

    async def make() -> None:
        async with PulsarAdmin(server.admin_url, Credentials(mine)) as admin:
            both = ("produce", "consume")
            await admin.prepare(TENANT, "alerts", ({} if role is None else {role: both}) | {PAGE: PAGE_PERMISSIONS})
            for topic in TOPICS.all():
                await admin.create(topic, TOPICS.subscriptions(topic))

    asyncio.run(make())


def start(server: PulsarServer, token: Path, *words: object) -> subprocess.Popen[str]:
    where = ["-n", SCAN, "--broker", server.url, "--admin-url", server.admin_url, "--auth-token", token]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "skymap_scanner", *map(str, [*words, *where])],
        cwd=token.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def named(**options: str) -> list[str]:
    """The options for topics of the tenant."""
    places = {"metadata": "skymap_metadata-alerts/mf_"}
    return [
        word
        for kind, option in options.items()
        for word in (option, f"persistent://{TENANT}/{places.get(kind, f'skymap/{kind}')}")
    ]


def test_scan_needs_only_to_produce_and_consume(guarded: PulsarServer, token: Path, tmp_path: Path) -> None:
    prepare(guarded, tmp_path, ROLE)
    prepare(guarded, tmp_path, ROLE)  # it may be repeated
    scan = ["--levels", "1:0", "--seeds", "1", "--reconstruction", "dummy"]
    tasks, fits, bests = (named(**{kind: option}) for kind, option in TOPIC_OPTIONS.items())
    roles = [
        start(guarded, token, "producer", demo_event_path(), *scan, *tasks, *bests, *named(metadata="-m")),
        start(guarded, token, "collector", *fits, *bests, *tasks),
        start(guarded, token, "saver", *bests, *tasks, "-o", "out/scan.i3.zst", "--format", "json"),
    ]
    worker = start(guarded, token, "worker", *tasks, *fits)
    try:
        for role in roles:
            said = role.communicate(timeout=120)[1]
            assert role.returncode == 0, said
        worker.terminate()
        said = worker.communicate(timeout=60)[1]
        assert worker.returncode == 143, said
    finally:
        for process in (*roles, worker):
            if process.poll() is None:
                process.kill()
            process.communicate()
    [result] = (tmp_path / "out").glob("run*.json")
    assert len(json.loads(result.read_text())["nside-1"]["data"]) == 12

    asyncio.run(assert_operator_reads(guarded, tmp_path / "operator-token"))
    assert_page_reads(guarded, tmp_path)
    access = access_to(guarded, token)
    with open_broker(guarded.url, access) as broker:
        assert_may_do_no_more(guarded, broker)


def assert_page_reads(server: PulsarServer, folder: Path) -> None:
    """The page follows the scan to its report, and cannot publish."""
    mine = folder / "page-token"
    mine.write_text(server.token(PAGE))
    opened = lambda: open_broker(server.url, access_to(server, mine))  # noqa: E731
    follower = Follower(opened, SCAN, TOPICS)
    follower.start()
    try:
        eventually(lambda: follower.status, lambda status: status["phase"] in {"done", "failed"}, within=60)
        assert follower.status["phase"] == "done", follower.status
        assert follower.report is not None
    finally:
        follower.stop()
    with opened() as broker, pytest.raises(BrokerError), broker.producer(TOPICS.plan, "page") as producer:
        producer.send(Outgoing(b"{}"))


async def assert_operator_reads(server: PulsarServer, token: Path) -> None:
    """The administrator of a tenant may read there without a permission of its own."""
    reader = MessageReader(server.url, Credentials(token))
    begin, end, snapshot = (
        await reader.read(TOPICS.plan, "earliest"),
        await reader.read(TOPICS.plan, "latest"),
        await reader.read(TOPICS.progress, "latest"),
    )
    await reader.close()
    assert begin is not None
    assert end is not None
    assert snapshot is not None
    assert [json.loads(one.payload)["kind"] for one in (begin, end)] == ["scan", "end"]
    assert decode_progress(snapshot.payload).phase is ProgressPhase.DONE


def assert_may_do_no_more(server: PulsarServer, broker: Broker) -> None:
    with pytest.raises(BrokerError, match="403"):
        broker.delete_topic(TOPICS.plan)
    with pytest.raises(BrokerError, match="403"):
        broker.create_topic(f"{TOPICS.plan}-more")
    frames = f"persistent://{TENANT}/skymap_metadata-alerts/mf_"
    there = broker.topics(frames)
    assert len(there) >= 3
    with pytest.raises(BrokerError, match="there is no topic"):  # which Pulsar would make for who asks
        read_metadata(broker, f"{frames}0123")
    assert broker.topics(frames) == there
    own = server.token(ROLE)
    for method, path in (
        ("GET", "tenants"),
        ("GET", f"namespaces/{TENANT}"),
        ("PUT", f"namespaces/{TENANT}/more"),
        ("DELETE", f"namespaces/{TENANT}/skymap?force=true"),
        ("GET", f"namespaces/{TENANT}/skymap/retention"),
        ("POST", f"namespaces/{TENANT}/skymap/permissions/{ROLE}"),
    ):
        assert send(server, method, path, own) in {401, 403}, path


def test_role_without_permissions_is_rejected_with_advice(guarded: PulsarServer, tmp_path: Path) -> None:
    prepare(guarded, tmp_path, None)
    stranger = tmp_path / "stranger"
    stranger.write_text(guarded.token("stranger"))
    refused = start(guarded, stranger, "collector", *named(**TOPIC_OPTIONS))
    said = refused.communicate(timeout=60)[1]
    assert refused.returncode == 1
    assert "grant it produce and consume on the namespace" in said


def test_operator_without_a_tenant_is_rejected_with_advice(guarded: PulsarServer, tmp_path: Path) -> None:
    with pytest.raises(PulsarAdminError, match=r"refused .*: 40[13] .*Check the token or certificate, and what"):
        prepare(guarded, tmp_path, ROLE, who="stranger")
