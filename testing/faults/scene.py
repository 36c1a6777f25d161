"""The place of the fault matrix: a native cluster, a Pulsar, an operator and an event server of its own.

The operator is a pod that the chart installs, so Kubernetes restarts it. Pulsar and the daemons of the node are
processes of this machine, and the matrix restarts them, as systemd would. Every victim is a process with an id on this
machine, whatever state Kubernetes is in.
"""

from __future__ import annotations

import base64
import json
import signal
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from skymap_api.names import GROUP, TOPICS_NAMESPACE, metadata_namespace
from testing.cluster import scans
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.clusters import image_of, own_cluster
from testing.cluster.releases import WAIT, Release
from testing.faults import disk
from testing.faults.node import Node, command_of, gone, send
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

Json = dict[str, Any]

PLACE, CLAIM, TENANT = "faults", "results", "faults"

#: Sizes of the disks that are filled (MiB): small, so that filling them is quick.
CLAIM_SIZE, NODE_SIZE, PULSAR_SIZE = 64, 512, 768

#: By default the kubelet reports a full disk until five minutes after it has space again.
_KUBELET = "evictionPressureTransitionPeriod: 5s\n"


class Api:
    """A client of the API server. A call of kubectl would take 0.1 s of a core each time."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "certificate"), Path(folder, "key")
            for file, part in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
                file.touch(mode=0o600)
                file.write_bytes(base64.b64decode(user[part]))
            trust.load_cert_chain(*files)
        self.http = httpx.Client(base_url=server["server"], verify=trust, timeout=10)

    def get(self, path: str) -> Json | None:
        """Return an object or a list; None if it does not exist.

        Raises
        ------
        httpx.HTTPError
            If the API server does not answer.
        """
        answer = self.http.get(path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def items(self, kind: str, group: str = "api/v1") -> list[Json]:
        """Return the scans' objects of a kind."""
        found = self.get(f"/{group}/namespaces/{PLACE}/{kind}?labelSelector={GROUP}%2Fscan")
        return [] if found is None else found["items"]


@dataclass
class Scene:
    """Everything a scan needs."""

    cluster: Cluster
    node: Node
    api: Api
    server: PulsarServer
    events: str

    @property
    def claim(self) -> Path:
        """The folder of the results claim on this machine."""
        return self.node.root / "run/faults"

    def pods(self, part: str) -> list[Json]:
        """Return the unfinished pods of a role or of the operator."""
        if part == "operator":
            found = self.api.get(
                f"/api/v1/namespaces/{PLACE}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Doperator"
            )
            pods = [] if found is None else found["items"]
        else:
            pods = [
                pod
                for pod in self.api.items("pods")
                if pod["metadata"]["labels"]["app.kubernetes.io/component"] == part
            ]
        return [pod for pod in pods if pod["status"].get("phase") not in {"Succeeded", "Failed"}]

    def running(self, part: str) -> list[tuple[Json, int]]:
        """Return the pods of a role whose container runs, each with its first process."""
        found = []
        for pod in self.pods(part):
            for status in pod["status"].get("containerStatuses", ()):
                pid = self.node.container(pod["metadata"]["uid"], status.get("containerID", ""))
                if "running" in status["state"] and pid is not None and "deletionTimestamp" not in pod["metadata"]:
                    found.append((pod, pid))
        return found

    def topics(self) -> list[str]:
        """Return the tenant's topics without Pulsar's own."""
        found: list[str] = []
        for namespace in (TOPICS_NAMESPACE, metadata_namespace(PLACE)):
            answer = self.server.request("GET", f"/admin/v2/persistent/{TENANT}/{namespace}")
            topics = answer.json() if answer.status_code == httpx.codes.OK else []
            found += [topic for topic in topics if not topic.rpartition("/")[2].startswith("__")]
        return found


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Set up the scene, and tear it down at the end."""
    with ExitStack() as stack:
        archives = [image_of(kind)[1] for kind in ("worker", "operator")]
        cluster = stack.enter_context(own_cluster(folder))
        if not cluster.is_native:
            raise SystemExit("the matrix needs the native cluster (docs/how-to/run-a-local-cluster.md)")
        stack.enter_context(disk.small(folder / "pulsar", PULSAR_SIZE))
        server = stack.enter_context(PulsarServer(folder / "pulsar", host=cluster.host))
        events = stack.enter_context(scans.event_server(cluster.host))
        node = Node(cluster.name or "", cluster.kubeconfig.parent)
        prepare(node)
        for archive in archives:
            cluster.load(archive)
        api = Api(cluster.kubeconfig)
        stack.callback(api.http.close)
        eventually(lambda: ready(api), within=120)
        cluster.kubectl("create", "namespace", PLACE)
        Namespace(cluster, PLACE).apply(*volume(node.name))
        Release(cluster, PLACE).install(values(server), *WAIT)
        yield Scene(cluster, node, api, server, f"{events}/event")


def prepare(node: Node) -> None:
    """Give the kubelet a disk and a way to the API server of its own, and the claim a disk."""
    node.run("mkdir", "-p", "/run/faults")
    node.run("mount", "-t", "tmpfs", "-o", f"size={CLAIM_SIZE}m,mode=777", "tmpfs", "/run/faults")
    pid = node.daemon("kubelet")
    if pid is None:
        raise RuntimeError("the kubelet does not run")
    words = command_of(pid)
    send(pid, signal.SIGTERM)
    gone(pid)
    kubeconfig = node.folder / "certificates" / "kubelet.kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(f"https://{node.address}:", "https://127.0.0.1:"))
    with (node.folder / "config" / "kubelet.yaml").open("a") as config:
        config.write(_KUBELET)
    node.run("mount", "-t", "tmpfs", "-o", f"size={NODE_SIZE}m", "tmpfs", "/var/lib/kubelet")
    node.start(words)


def ready(api: Api) -> bool:
    """Return whether API server and node are healthy."""
    nodes = (api.get("/api/v1/nodes") or {"items": []})["items"]
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" and not one["spec"].get("taints")
        for one in nodes
        for condition in one["status"]["conditions"]
    )


def volume(node: str) -> list[Json]:
    """Return the volume and claim for results, on the disk that is filled."""
    modes, size = ["ReadWriteOnce"], {"storage": f"{CLAIM_SIZE}Mi"}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    spec = {
        "capacity": size,
        "accessModes": modes,
        "storageClassName": "faults",
        "local": {"path": "/run/faults"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    asked = {"accessModes": modes, "storageClassName": "faults", "resources": {"requests": size}}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "faults"}, "spec": spec},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": asked},
    ]


def values(server: PulsarServer) -> Json:
    """Return the values of the chart: short intervals, and requests for a small machine."""
    small = json.loads(scans.SMALL)
    settings = {"workerResources": small, "roleResources": small, "startupSeconds": 1}
    settings |= {"scalingInterval": 1, "retryInterval": 1, "resyncInterval": 5, "eventAddresses": ["any"]}
    pulsar = {"evaluation": False, "serviceUrl": server.url, "adminUrl": server.admin_url, "tenant": TENANT}
    return {"scope": "namespaces", "settings": settings, "pulsar": pulsar, "operator": {"logLevel": "debug"}}
