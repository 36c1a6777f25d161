"""What the other tests rely on: pods of the cluster run, end, log, mount volumes and reach one another."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.workloads import deployment, job, pod
from testing.leaving import leave_out
from testing.waiting import consistently, eventually


def fetch(address: str) -> str:
    """Return a Python program that prints the response of an address."""
    return f"import urllib.request; print(urllib.request.urlopen({address!r}, timeout=5).read().decode(), end='')"


def test_deployment_serves_behind_a_service(restricted: Namespace, python_image: str) -> None:
    serve = ["sh", "-c", "echo here I am >/data/index.html && exec python3 -m http.server 8080 --directory /data"]
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
    limits = {"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    restricted.apply(deployment("web", pod(python_image, *serve, **probe, **limits)), service)
    restricted.kubectl("rollout", "status", "deployment/web", "--timeout", "60s")

    address = restricted.get("service", "web")["spec"]["clusterIP"]
    for host in (address, "web", f"web.{restricted.name}.svc.cluster.local"):
        command = ["exec", "deployment/web", "--", "python3", "-c", fetch(f"http://{host}/")]
        assert eventually(lambda command=command: restricted.kubectl(*command)) == "here I am\n"

    assert restricted.kubectl("exec", "deployment/web", "--", "id", "-u") == "10001\n"
    assert "Read-only" in restricted.run("exec", "deployment/web", "--", "touch", "/x").stderr
    assert "GET / HTTP" in restricted.kubectl("logs", "deployment/web")
    assert restricted.kubectl("exec", "deployment/web", "--", "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"

    restricted.kubectl("scale", "deployment/web", "--replicas", "3")
    eventually(lambda: restricted.get("deployment", "web")["status"].get("readyReplicas"), lambda ready: ready == 3)
    restricted.kubectl("scale", "deployment/web", "--replicas", "0")
    eventually(lambda: restricted.get("pods")["items"], lambda pods: pods == [])
    consistently(lambda: restricted.get("pods")["items"], lambda pods: pods == [], throughout=1)


def test_volume_outlives_its_job(restricted: Namespace, python_image: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "results"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    volume = {"persistentVolumeClaim": {"claimName": "results"}}
    write = ["sh", "-c", "echo 42 >/data/answer && ls -ln /data/answer"]
    restricted.apply(claim, job("write", pod(python_image, *write, volume=volume)))
    restricted.kubectl("wait", "--for", "condition=Complete", "job/write", "--timeout", "60s")
    assert restricted.get("pvc", "results")["status"]["phase"] == "Bound"
    assert restricted.kubectl("logs", "job/write").split()[2] == "10001"

    restricted.apply(job("read", pod(python_image, "cat", "/data/answer", volume=volume)))
    restricted.kubectl("wait", "--for", "condition=Complete", "job/read", "--timeout", "60s")
    assert restricted.kubectl("logs", "job/read") == "42\n"


def test_failed_job_reports_its_reason(restricted: Namespace, python_image: str) -> None:
    restricted.apply(job("fail", pod(python_image, "sh", "-c", "echo this went wrong >&2; exit 3")))
    restricted.kubectl("wait", "--for", "condition=Failed", "job/fail", "--timeout", "60s")
    state = restricted.get("pods", "--selector", "job-name=fail")["items"][0]["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["exitCode"] == 3
    report = restricted.report()
    assert "this went wrong" in "".join(log for what, log in report.items() if what.startswith("log of pod/fail-"))
    assert "BackoffLimitExceeded" in report["events"]
    assert "this went wrong >&2" in report["resources"]


def test_unrestricted_pods_are_rejected(restricted: Namespace, python_image: str) -> None:
    spec = pod(python_image, "true")
    spec["securityContext"] = {}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": spec}
    refused = restricted.run("apply", "-f", "-", stdin=json.dumps(manifest))
    assert refused.returncode
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside\n")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def outside(cluster: Cluster) -> Iterator[str]:
    """A server on this machine that pods can reach."""
    if cluster.name is None:
        leave_out("how pods of a given cluster reach this machine is not known")
    with http.server.ThreadingHTTPServer((cluster.host, 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{cluster.host}:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_pods_reach_the_host(restricted: Namespace, python_image: str, outside: str) -> None:
    restricted.apply(job("fetch", pod(python_image, "python3", "-c", fetch(outside))))
    restricted.kubectl("wait", "--for", "condition=Complete", "job/fetch", "--timeout", "60s")
    assert restricted.kubectl("logs", "job/fetch") == "from outside\n"
