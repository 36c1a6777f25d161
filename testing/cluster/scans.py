"""SkymapScans of the operator's tests: create, wait, read results."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skymap_scanner.event.demo import demo_event_path
from testing.cluster.cluster import Namespace
from testing.cluster.operators import OperatorProcess
from testing.manifests import cases
from testing.map_files import is_map_file, map_files
from testing.waiting import eventually

Start = Callable[..., OperatorProcess]
Scan = dict[str, Any]

NAME = "alert"
KINDS = "configmaps,jobs,deployments"

#: A scan of a few seconds with small requests, so that many fit on a small node.
QUICK: Scan = {
    "levels": [{"nside": 1}],
    "seeds": 1,
    "reconstruction": {"name": "dummy"},
    "workers": {"min": 0, "max": 1},
    "output": {"formats": ["json"]},
}
SMALL = json.dumps({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
SETTINGS = {"ROLE_RESOURCES": SMALL, "WORKER_RESOURCES": SMALL, "STARTUP_SECONDS": "1", "RESYNC_INTERVAL": "5"}

#: Timeout of a scan in pods (s), with many at a time on a busy machine.
SCAN_SECONDS = 240.0

#: Timeout until a scan reports an obstacle (s): pods fail first, some of them several times.
OBSTACLE_SECONDS = 120.0


def manifest(spec: Scan, name: str = NAME) -> Scan:
    return cases.manifest(spec, name)


def scan(namespace: Namespace, name: str = NAME) -> Scan:
    found: Scan = namespace.get("sms", name)
    return found


def condition(found: Scan, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    for one in found.get("status", {}).get("conditions", ()):
        if one["type"] == kind:
            return one["status"], one["reason"], one["message"]
    return "", "", ""


def degraded(namespace: Namespace, reason: str, name: str = NAME, words: Sequence[str] = ()) -> str:
    """Wait until the scan is Degraded for this reason with these words in its message; return the message."""
    probe = lambda: condition(scan(namespace, name), "Degraded")  # noqa: E731
    matches = lambda found: found[1] == reason and all(word in found[2] for word in words)  # noqa: E731
    return eventually(probe, matches, OBSTACLE_SECONDS)[2]


def ended(namespace: Namespace, name: str = NAME, within: float = SCAN_SECONDS) -> tuple[str, str, str]:
    """Wait until the scan has finished; return its condition Succeeded."""
    probe = lambda: condition(scan(namespace, name), "Succeeded")  # noqa: E731
    return eventually(probe, lambda found: found[0] in {"True", "False"}, within)


def phase(namespace: Namespace, wanted: str, name: str = NAME, within: float = SCAN_SECONDS) -> Scan:
    """Wait until the scan is in a phase; return it."""
    return eventually(
        lambda: scan(namespace, name), lambda found: found.get("status", {}).get("phase") == wanted, within
    )


def progressed(namespace: Namespace, pixels: int, name: str = NAME) -> None:
    """Wait until so many pixels are done."""
    probe = lambda: scan(namespace, name).get("status", {}).get("pixels", {}).get("done", 0)  # noqa: E731
    eventually(probe, lambda done: done >= pixels, SCAN_SECONDS)


def children(namespace: Namespace, kinds: str = KINDS) -> dict[tuple[str, str], Scan]:
    """Return the children of all scans by kind and name."""
    found = namespace.get(kinds, "-l", "skymap.icecube.wisc.edu/scan")["items"]
    return {(one["kind"], one["metadata"]["name"]): one for one in found if "deletionTimestamp" not in one["metadata"]}


def unfinished_pods(namespace: Namespace) -> list[str]:
    """Return the names of the scans' pods that have not ended."""
    found = namespace.get("pods", "-l", "skymap.icecube.wisc.edu/scan")["items"]
    return [pod["metadata"]["name"] for pod in found if pod["status"]["phase"] not in {"Succeeded", "Failed"}]


def complete(namespace: Namespace, name: str = NAME) -> dict[tuple[str, str], Scan]:
    """Wait until the scan has all its children; return them."""
    wanted = {("Job", f"{name}-{role}") for role in ("producer", "collector", "saver")}
    wanted |= {("ConfigMap", f"{name}-scan"), ("Deployment", f"{name}-workers")}
    return eventually(lambda: children(namespace), lambda found: wanted <= set(found))


def embedded(spec: Scan, folder: Path) -> dict[str, bytes]:
    """Run the same scan on this machine with the embedded broker; return the files of its map."""
    path = folder / "scan.yaml"
    path.write_text(json.dumps(manifest(spec)))
    command = [sys.executable, "-P", "-m", "skymap_scanner", "run", path, "-o", folder / "embedded", "--workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SKYMAP_EVENT_USER": USER, "SKYMAP_EVENT_PASSWORD": PASSWORD}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=SCAN_SECONDS)
    assert done.returncode == 0, done.stderr
    found = map_files(folder / "embedded")
    assert {Path(name).suffix for name in found} >= {".zst", ".json"}
    return found


def results(namespace: Namespace, image: str, name: str = NAME, *, everything: bool = False) -> dict[str, bytes]:
    """Return the files of the scan's map from its claim, or ``everything``, read by a pod with a Python image."""
    outputs = scan(namespace, name)["status"]["outputs"]
    program = (
        "import base64, json, pathlib; print(json.dumps({path.name: base64.b64encode(path.read_bytes()).decode()"
        f" for path in pathlib.Path('/results', {outputs['path']!r}).iterdir()}}))"
    )
    reader = f"read-{name}"
    container = {
        "name": "read",
        "image": image,
        "command": ["python3", "-I", "-c", program],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "results", "mountPath": "/results"}],
    }
    claim = {"name": "results", "persistentVolumeClaim": {"claimName": outputs["claim"]}}
    who = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [claim], "securityContext": who}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": reader}, "spec": spec})
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{reader}", "--timeout=90s")
    found = json.loads(namespace.kubectl("logs", reader))
    assert set(outputs["files"]) <= set(found)
    return {name: base64.b64decode(content) for name, content in found.items() if everything or is_map_file(name)}


USER, PASSWORD = "shift", "s3cret"


class _Events(http.server.BaseHTTPRequestHandler):
    """Serves the demo event at /event, with a password at /guarded, and an HTML page at /text."""

    def do_GET(self) -> None:
        if self.path == "/text":
            self._answer(200, b"<html>Please log in</html>")
        elif self.path == "/event" or (self.path == "/guarded" and self._may()):
            self._answer(200, demo_event_path().read_bytes())
        else:
            self._answer(401 if self.path == "/guarded" else 404, b"")

    def _may(self) -> bool:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return hmac.compare_digest(self.headers.get("Authorization", ""), expected)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def event_server(host: str) -> Iterator[str]:
    """Serve events at an address that pods reach; yields the URL without a path."""
    with http.server.ThreadingHTTPServer((host, 0), _Events) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
