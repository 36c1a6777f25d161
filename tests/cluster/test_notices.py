"""Notices of scans on a real cluster: each arrives once although savers are killed, and none fails a scan."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import QUICK, SETTINGS, Scan, Start, children, condition, degraded, ended, manifest, scan
from testing.pulsar.certificates import Certificates, make_certificates
from testing.waiting import eventually
from tests.unit.notices.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"a key of these tests, 32 bytes..").decode()
KINDS = "pods,jobs,configmaps,events,skymapscans"

#: Kills (SIGKILL) the saver from inside of its pod.
KILL = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"\\0saver\\0" in path.read_bytes() and int(path.parent.name) != os.getpid():
        os.kill(int(path.parent.name), 9)
"""


@pytest.fixture(scope="module")
def certificates(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls") / "certificates", cluster.host)


@pytest.fixture
def hook(cluster: Cluster, certificates: Certificates, worker_image: str) -> Iterator[Receiver]:
    with Receiver(host=cluster.host, certificates=certificates).running() as receiver:
        yield receiver


@pytest.fixture
def busy(cluster: Cluster, certificates: Certificates, worker_image: str) -> Iterator[Receiver]:
    """A destination that answers 503 until a test lets it answer 200."""
    with Receiver((503, {}), host=cluster.host, certificates=certificates).running() as receiver:
        yield receiver


def destination(name: str, receiver: Receiver, *namespaces: str) -> dict[str, Any]:
    return {"name": name, "to": f"webhook={receiver.url}", "trustedKey": "ca.crt", "namespaces": namespaces}


def asking(name: str, *to: str) -> Scan:
    notices = {"to": to, "alertTense": "current"}
    return manifest(QUICK | {"event": {"simulate": {}}, "notices": notices, "retries": {"roleRestarts": 20}}, name)


def is_ours(headers: dict[str, str], body: bytes) -> bool:
    """Verify a signature as docs/how-to/send-notices.md tells receivers to."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = hmac.new(base64.b64decode(SECRET[6:]), signed, hashlib.sha256).digest()
    return hmac.compare_digest("v1," + base64.b64encode(expected).decode(), headers["webhook-signature"])


def saver(namespace: Namespace) -> str | None:
    """Return the name of the pod of the saver that runs."""
    pods = namespace.get("pods", "-l", "app.kubernetes.io/component=saver")["items"]
    return next((pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"), None)


def outbox(namespace: Namespace, pod: str) -> dict[tuple[str, str], str]:
    """Return the state of each notice, by destination and type; empty while there is no outbox."""
    found = namespace.run("exec", pod, "--", "cat", "/results/alert/notices.json")
    entries = json.loads(found.stdout)["entries"] if found.returncode == 0 else []
    return {(one["destination"], one["notice"]["type"]): one["state"] for one in entries}


def notified(namespace: Namespace, name: str) -> tuple[str, str, str]:
    return condition(scan(namespace, name), "Notified")


@pytest.mark.timeout(900)
def test_killed_savers_send_each_notice_once(
    operators: Start,
    restricted: Namespace,
    worker_image: str,
    hook: Receiver,
    busy: Receiver,
    certificates: Certificates,
) -> None:
    listed = [destination("hook", hook, restricted.name), destination("busy", busy, "*")]
    operator = operators(IMAGE=worker_image, NOTICES=json.dumps(listed), **SETTINGS)
    keys = {"signing-secret": SECRET, "ca.crt": Path(certificates.authority).read_text()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "skymap-notices"}, "stringData": keys}
    restricted.apply(secret, asking("alert", "hook", "busy"))

    killed: set[str] = set()
    while len(killed) < 4:
        pod = eventually(lambda: saver(restricted), lambda found: found is not None and found not in killed, within=200)
        assert pod is not None
        attempts = len(busy.received)
        sent = lambda pod=pod: outbox(restricted, pod).get((f"webhook={hook.url}", "update"))  # noqa: E731
        eventually(sent, lambda state: state == "sent", within=200)
        eventually(lambda attempts=attempts: len(busy.received) > attempts, within=60)  # it goes on after the result
        if len(killed) % 2:
            restricted.kubectl("delete", "pod", pod, "--wait=false")  # as a drain does
        else:
            restricted.kubectl("exec", pod, "--", "python3", "-I", "-c", KILL)
        killed.add(pod)
    busy.answers[:] = [(200, {})]
    assert ended(restricted)[:2] == ("True", "Completed")

    for receiver in (hook, busy):
        assert all(is_ours(*one) for one in receiver.received)
    assert [json.loads(body)["type"] for _, body in hook.received] == ["initial", "update"]
    assert {json.loads(body)["tense"] for _, body in hook.received} == {"test"}, "the event is simulated"
    assert len(set(hook.keys)) == 2 < len(busy.keys)
    assert set(busy.keys) == set(hook.keys), "the same notice has the same key everywhere, and after each kill"
    _, reason, message = eventually(lambda: notified(restricted, "alert"), lambda found: found[0] == "True")
    assert (reason, message) == (
        "NoticesSent",
        f"sent: update notice to webhook={hook.url}, update notice to webhook={busy.url}",
    )
    assert "NoticesSent" in restricted.kubectl("get", "events")
    content = restricted.kubectl("get", KINDS, "-o", "yaml") + operator.log.read_text()
    content += "".join(
        restricted.kubectl("logs", pod) for pod in restricted.kubectl("get", "pods", "-o", "name").split()
    )
    assert hook.url in content
    assert SECRET not in content
    assert base64.b64encode(SECRET.encode()).decode() not in content


@pytest.mark.timeout(600)
def test_notices_that_cannot_be_sent_fail_no_scan(
    operators: Start, restricted: Namespace, worker_image: str, hook: Receiver
) -> None:
    listed = [destination("hook", hook, restricted.name), destination("theirs", hook, "elsewhere")]
    operators(IMAGE=worker_image, NOTICES=json.dumps(listed), **SETTINGS)
    restricted.apply(asking("without", "hook"), asking("refused", "hook", "theirs"))
    message = degraded(restricted, "NotAllowed", "refused")
    assert "notices.to (theirs)" in message
    assert "settings.notices of the chart" in message
    assert ended(restricted, "without")[:2] == ("True", "Completed")
    status, reason, message = notified(restricted, "without")
    assert (status, reason) == ("False", "NoticesFailed")
    assert "cannot read /notices/skymap-notices/signing-secret" in message
    assert "the results are written all the same" in message
    assert "NoticesFailed" in restricted.kubectl("get", "events", "--field-selector", "type=Warning")
    assert hook.received == []
    assert not [name for _, name in children(restricted) if name.startswith("refused-")]
