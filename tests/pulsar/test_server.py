"""The broker of the other tests: it starts, and keeps its messages when it is killed or frozen."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pulsar
import pytest
from testing.faults import disk
from testing.leaving import leave_out
from testing.pulsar.server import START, PulsarAddress, PulsarServer, free_ports
from testing.waiting import eventually

Start = Callable[..., PulsarServer]
TOPIC = "persistent://public/default/messages"


@contextmanager
def client(url: str, **options: object) -> Iterator[pulsar.Client]:
    """Open a client that is always closed."""
    quiet = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
    client = pulsar.Client(url, logger=quiet, **options)
    try:
        yield client
    finally:
        client.close()


def stored(client: pulsar.Client, topic: str = TOPIC) -> list[bytes]:
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    payloads = []
    while reader.has_message_available():
        payloads.append(reader.read_next(5000).data())
    return payloads


def send(client: pulsar.Client, *payloads: bytes, topic: str = TOPIC) -> None:
    producer = client.create_producer(topic)
    for payload in payloads:
        producer.send(payload)


def test_session_broker_stores_messages(pulsar_server: PulsarAddress, pulsar_tenant: str) -> None:
    admin = f"{pulsar_server.admin_url}/admin/v2"
    clusters = httpx.get(f"{admin}/clusters").json()
    httpx.put(f"{admin}/tenants/{pulsar_tenant}", json={"allowedClusters": clusters}).raise_for_status()
    httpx.put(f"{admin}/namespaces/{pulsar_tenant}/skymap").raise_for_status()
    topic = f"persistent://{pulsar_tenant}/skymap/messages"
    with client(pulsar_server.url) as one:
        send(one, b"first", b"second", topic=topic)
        assert stored(one, topic) == [b"first", b"second"]


def test_killed_broker_keeps_acknowledged_messages(own_pulsar: Start) -> None:
    server = own_pulsar()
    payloads = [b"%d" % number for number in range(100)]
    for kills in range(3):
        with client(server.url) as one:
            send(one, *payloads)
        server.kill()
        server.start()
        with client(server.url) as one:
            assert stored(one) == payloads * (kills + 1)


def test_stopped_broker_restarts_on_its_ports(own_pulsar: Start) -> None:
    server = own_pulsar()
    first = server.pid
    with client(server.url) as one:
        send(one, b"before")
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    server.start()
    assert server.pid != first
    with client(server.url) as one:
        assert stored(one) == [b"before"]


def test_suspended_broker_answers_after_it_is_resumed(own_pulsar: Start) -> None:
    server = own_pulsar()
    server.suspend()
    with pytest.raises(httpx.ReadTimeout):
        server.request("GET", "/admin/v2/clusters", timeout=1)
    server.resume()
    assert server.request("GET", "/admin/v2/clusters").json() == ["standalone"]


def test_request_without_a_token_is_rejected(own_pulsar: Start) -> None:
    server = own_pulsar(authentication=True)

    def status(token: str) -> int:
        return server.request("GET", "/admin/v2/tenants", token).status_code

    assert status(server.token("admin")) == httpx.codes.OK
    assert status(server.token("admin", 60)) == httpx.codes.OK
    assert status(server.token("admin", -60)) == httpx.codes.UNAUTHORIZED
    assert status("") == httpx.codes.UNAUTHORIZED
    assert status(server.token("worker")) in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
    with client(server.url, authentication=pulsar.AuthenticationToken(server.token("admin"))) as admin:
        send(admin, b"known")
        assert stored(admin) == [b"known"]
    with (
        client(server.url, authentication=pulsar.AuthenticationToken(server.token("worker"))) as worker,
        pytest.raises(pulsar.AuthorizationError),
    ):
        send(worker, b"not granted")
    said = server.log(100_000)
    assert server.token("admin") not in said


def test_tls_uses_certificates_of_our_own_authority(own_pulsar: Start) -> None:
    server = own_pulsar(tls=True)
    assert server.certificates is not None
    assert server.url.startswith("pulsar+ssl://")
    assert server.request("GET", "/admin/v2/clusters").json() == ["standalone"]
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.admin_url}/admin/v2/clusters")
    with client(server.url, tls_trust_certs_file_path=str(server.certificates.authority)) as trusting:
        send(trusting, b"encrypted")
        assert stored(trusting) == [b"encrypted"]
    with client(server.url, operation_timeout_seconds=2) as wary, pytest.raises(pulsar.PulsarException):
        send(wary, b"to whom?")


def test_client_certificates_can_be_required(own_pulsar: Start) -> None:
    server = own_pulsar(tls=True, configuration={"tlsRequireTrustedClientCertOnConnect": "true"})
    assert server.certificates is not None
    authority = str(server.certificates.authority)
    ours = pulsar.AuthenticationTLS(str(server.certificates.client), str(server.certificates.client_key))
    with client(server.url, tls_trust_certs_file_path=authority, authentication=ours) as known:
        send(known, b"known")
        assert stored(known) == [b"known"]
    without = {"tls_trust_certs_file_path": authority, "operation_timeout_seconds": 2}
    with client(server.url, **without) as unknown, pytest.raises(pulsar.PulsarException):
        send(unknown, b"unknown")


def test_broker_that_cannot_start_reports_the_reason(own_pulsar: Start) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Pulsar ended with 1 while it started\..*NotThere"):
        own_pulsar(configuration={"authenticationEnabled": "true", "authenticationProviders": "NotThere"})


def test_failed_start_repeats_the_last_error_of_the_log(pulsar_installed: None, tmp_path: Path) -> None:
    configuration = {"authenticationEnabled": "true", "authenticationProviders": "NotThere"}
    server = PulsarServer(tmp_path / "pulsar", configuration)
    with pytest.raises(RuntimeError, match="Pulsar ended with 1"):
        server.start()
    assert (server.folder / "console.log").read_text().splitlines()[-2:] == [
        "pulsar: it did not start: java.lang.ClassNotFoundException: NotThere",
        f"pulsar: the log is {server.folder}/log/pulsar.log",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a second name for the current folder")
def test_broker_starts_in_a_folder_of_any_name(
    pulsar_installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my data, %20 ü${x};#1:\n?'\"&"
    with PulsarServer(folder) as server:
        with client(server.url) as one:
            send(one, b"kept")
        server.stop()
        monkeypatch.setenv("LC_ALL", "C")
        server.start()
        with client(server.url) as one:
            assert stored(one) == [b"kept"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name], "no folder of a garbled name"


def test_folder_that_is_not_utf_8_is_rejected(pulsar_installed: None, tmp_path: Path) -> None:
    words = [START, "--data", os.fsencode(tmp_path) + b"/M\xfcller"]
    refused = subprocess.run(words, capture_output=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"pulsar: Pulsar cannot use the folder")


@pytest.mark.parametrize("lines", [1, 20, 60])
def test_signal_while_it_starts_ends_a_broker_quietly(lines: int, pulsar_installed: None, tmp_path: Path) -> None:
    """A start writes some hundred lines into its log before it is ready."""
    log = tmp_path / "data/log/pulsar.log"
    broker, web, storage = free_ports(3)
    words = ["--data", tmp_path / "data", "--port", broker, "--web-port", web, "--storage-port", storage]
    with subprocess.Popen(
        [str(word) for word in (START, *words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            eventually(lambda: log.exists() and len(log.read_bytes().splitlines()) >= lines, within=120)
        finally:
            process.terminate()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "xception" not in said
    assert "pulsar: " not in said


def test_second_broker_in_a_folder_is_rejected(own_pulsar: Start) -> None:
    server = own_pulsar()
    with pytest.raises(RuntimeError, match="another Pulsar is running on"):
        PulsarServer(server.folder).start()
    assert server.request("GET", "/admin/v2/clusters").json() == ["standalone"]


def test_port_in_use_is_named(pulsar_installed: None, tmp_path: Path) -> None:
    broker, web, storage = free_ports(3)
    with socket.create_server(("127.0.0.1", web)):
        words = ["--data", tmp_path / "data", "--port", broker, "--web-port", web, "--storage-port", storage]
        refused = subprocess.run([str(word) for word in (START, *words)], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert f"port {web} is taken" in refused.stderr


KILLED = """
import pathlib, sys, time
from testing.pulsar.server import PulsarServer
server = PulsarServer(pathlib.Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def test_broker_ends_with_the_tests(pulsar_installed: None, tmp_path: Path) -> None:
    root = START.parents[2]
    tests = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert tests.stdout is not None
    pid = int(tests.stdout.readline())
    broker = os.pidfd_open(pid)
    try:
        tests.kill()
        tests.wait()
        if not select.select([broker], [], [], 30)[0]:
            signal.pidfd_send_signal(broker, signal.SIGKILL)
            pytest.fail("the broker outlived the tests")
    finally:
        os.close(broker)
        tests.stdout.close()


def test_full_disk_loses_no_acknowledged_message(pulsar_installed: None, tmp_path: Path) -> None:
    """The journal is preallocated; without its storage the broker ends, since it would only seem to work."""
    if os.geteuid():
        leave_out("a small disk of its own is mounted by root")
    folder, sent = tmp_path / "disk", list[bytes]()
    with disk.small(folder, 300), PulsarServer(folder) as server:
        with client(server.url, operation_timeout_seconds=2) as one, disk.full(folder):
            producer = one.create_producer(TOPIC, send_timeout_millis=2000)
            deadline = time.monotonic() + 120
            while not server.has_ended and time.monotonic() < deadline:
                with suppress(pulsar.PulsarException):
                    producer.send(b"%10000d" % len(sent))
                    sent.append(b"%10000d" % len(sent))
        assert server.has_ended
        assert len(sent) > 100, "the journal's file has its room"
        server.start()
        with client(server.url) as one:
            assert stored(one)[: len(sent)] == sent
