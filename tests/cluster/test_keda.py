"""Where KEDA sets how many workers there are: what the operator makes is what KEDA's own definition takes.

KEDA does not run here: the test does what KEDA would, by the number that the operator tells.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import NAME, Scan, Start, complete, manifest
from testing.leaving import leave_out
from testing.pulsar.server import PulsarAddress
from testing.waiting import consistently, eventually

from skymap_api.names import Names, Topics
from skymap_scanner.broker import Access, Outgoing, open_broker

#: The Go module of KEDA, which carries the definitions of its resources.
KEDA = "github.com/kedacore/keda/v2@v2.17.2"
SPEC: Scan = {"event": {"simulate": {}}, "levels": [{"nside": 1}], "workers": {"max": 3}}
SCALED = "scaledobjects.keda.sh"


@pytest.fixture(scope="session")
def keda_definition(cluster: Cluster) -> Iterator[None]:
    """The definition of ScaledObject, in force on the session's cluster."""
    if cluster.run("get", "crd", SCALED).returncode == 0:
        yield
        return
    if shutil.which("go") is None:
        leave_out("KEDA's definitions are fetched by go, which is not here")
    done = subprocess.run(["go", "mod", "download", "-json", KEDA], capture_output=True, text=True, check=False)
    if done.returncode:
        leave_out(f"{KEDA} cannot be fetched: {done.stderr or done.stdout}")
    folder = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases"
    cluster.kubectl("apply", "--server-side", "-f", folder / "keda.sh_scaledobjects.yaml")
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{SCALED}")
    yield
    cluster.kubectl("delete", "crd", SCALED, "--wait=false")


def test_keda_is_told_the_number_and_the_operator_leaves_it_to_keda(
    keda_definition: None,
    operators: Start,
    namespace: Namespace,
    pulsar_tenant: str,
    pulsar_server: PulsarAddress,
) -> None:
    operator = operators(SCALING="Keda", SCALING_URL="http://operator.invalid:8080", SECONDS_PER_TASK="900")
    namespace.apply(manifest(SPEC))
    complete(namespace)
    scaled = eventually(lambda: namespace.get(SCALED, f"{NAME}-workers"))
    [trigger] = scaled["spec"]["triggers"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == f"{NAME}-workers"
    path = trigger["metadata"]["url"].removeprefix("http://operator.invalid:8080")
    assert operator.get(path).json() == {"wanted": 0, "reason": "nothing waits yet"}
    assert operator.get(path.replace(NAME, "another")).status_code == 404

    topics = Topics.of(Names.of(namespace.name, NAME).scan, pulsar_tenant)
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        broker.producer(topics.to_be_scanned, "p").send(*(Outgoing(b"task") for _ in range(40)))
    eventually(lambda: operator.get(path).json()["wanted"] == 3)
    replicas = lambda: namespace.get("deployment", f"{NAME}-workers")["spec"]["replicas"]  # noqa: E731
    consistently(lambda: replicas() == 0)
    namespace.kubectl("scale", "deployment", f"{NAME}-workers", "--replicas=2")
    eventually(lambda: "2 do not run yet" in operator.get(path).json()["reason"])  # and are no ground for more
    consistently(lambda: replicas() == 2)

    change = json.dumps({"spec": {"workers": {"max": 5}}})
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", change)
    eventually(lambda: namespace.get(SCALED, f"{NAME}-workers")["spec"]["maxReplicaCount"] == 5)
    namespace.kubectl("delete", SCALED, f"{NAME}-workers")
    eventually(lambda: namespace.get(SCALED, f"{NAME}-workers"))

    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    eventually(lambda: operator.get(path).json()["wanted"] == 0)
    eventually(lambda: replicas() == 0)
    namespace.kubectl("delete", "sms", NAME, "--timeout=60s")
    eventually(lambda: namespace.get(SCALED)["items"] == [])
    assert "Traceback" not in operator.log.read_text()
