"""The Pulsar image for trials works like Apache's, in a restricted pod and on a volume that outlives it."""

from __future__ import annotations

from typing import Any

from testing.cluster.cluster import Namespace
from testing.cluster.workloads import job, labelled, pod
from testing.waiting import eventually

NAME, PORTS = "pulsar", {"broker": 6650, "admin": 8080}
#: Name of its Service, which finds the pod also after a restart.
HOST = f"{NAME}-0.{NAME}"

CLIENT = """
import pulsar, sys
client = pulsar.Client("pulsar://HOST:6650", operation_timeout_seconds=30)
if sys.argv[1] == "send":
    client.subscribe("news", "reader").close()
    print(client.create_producer("news").send(b"still here") is not None)
else:
    print(client.subscribe("news", "reader").receive(30000).data().decode())
client.close()
""".replace("HOST", HOST)


def stateful_set(image: str) -> dict[str, Any]:
    """Return the manifests of Pulsar as the chart runs it."""
    # Created last at the first start.
    probe = {"httpGet": {"path": "/admin/v2/namespaces/public/default", "port": PORTS["admin"]}, "periodSeconds": 1}
    spec = pod(image, "/pulsar/bin/pulsar", args=["standalone", "--advertised-address", HOST], readinessProbe=probe)
    spec["securityContext"] = spec["securityContext"] | {"runAsUser": 10000, "runAsGroup": 10000, "fsGroup": 10000}
    (container,) = spec["containers"]
    container["volumeMounts"] = [
        {"name": "data", "mountPath": "/pulsar/data"},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - a volume of this pod alone
    ]
    spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 1,
            "serviceName": NAME,
            "selector": {"matchLabels": {"app": NAME}},
            "template": labelled(NAME, spec),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def service() -> dict[str, Any]:
    ports = [{"name": name, "port": port} for name, port in PORTS.items()]
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": NAME}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def ready(namespace: Namespace) -> str | None:
    """Return the uid of Pulsar's pod once it is ready."""
    found = namespace.get("pod", f"{NAME}-0")
    conditions = {one["type"]: one["status"] for one in found["status"].get("conditions", ())}
    return found["metadata"]["uid"] if conditions.get("Ready") == "True" else None


def say(namespace: Namespace, image: str, word: str) -> str:
    """Run the client in a pod; return its output."""
    namespace.apply(job(word, pod(image, "python", "-c", CLIENT, args=[word])))
    namespace.kubectl("wait", "--for", "condition=Complete", f"job/{word}", "--timeout", "60s")
    return namespace.kubectl("logs", f"job/{word}")


def test_pulsar_messages_outlive_the_pod(restricted: Namespace, pulsar_image: str, worker_image: str) -> None:
    restricted.apply(service(), stateful_set(pulsar_image))
    first = eventually(lambda: ready(restricted), within=120)
    assert "True\n" in say(restricted, worker_image, "send")  # after what the client logs

    restricted.kubectl("delete", "pod", f"{NAME}-0")
    eventually(lambda: ready(restricted), lambda now: now not in {None, first}, within=120)
    assert "still here\n" in say(restricted, worker_image, "receive")

    if pulsar_image.startswith("localhost/"):  # ours, and not Apache's own
        refused = restricted.run("exec", f"{NAME}-0", "--", "/pulsar/bin/pulsar", "broker")
        assert refused.returncode == 2
        assert "one command: standalone" in refused.stderr
