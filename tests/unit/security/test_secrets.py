"""No output, log, traceback, dump or file of a scan contains secrets. (For scans on a cluster: tests/cluster.)"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skymap_scanner.event.demo import demo_event_path

pytestmark = pytest.mark.slow

#: Made-up secrets to search for: the first three are for the event, the last for the broker.
MARKERS = {
    "password": "pass-5f2e9c",
    "token": "tok-81bb03",
    "signature": "sig-c47d12",
    "broker": "eyJhbGciOiJIUzI1NiJ9.brk-99aa77.c2ln",
}


def found_in(content: bytes) -> list[str]:
    """Return the names of the secrets that the bytes contain, plain or in base64."""
    names = []
    for name, marker in MARKERS.items():
        forms = [marker.encode(), base64.b64encode(f"user:{marker}".encode()), base64.b64encode(marker.encode())]
        if any(form in content for form in forms):
            names.append(name)
    return names


class _Guarded(BaseHTTPRequestHandler):
    """Serves the demo event to requests with the password or token, and answers others with 403 and all they sent."""

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        may = found_in(sent.encode()) and "/event" in self.path
        body = demo_event_path().read_bytes() if may else f"{self.path} {sent}".encode()
        self.send_response(200 if may else 403, f"{sent} {self.path}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Guarded)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def run(folder: Path, *words: str, **variables: str) -> tuple[int, bytes]:
    """Run a command with debug output; return its exit code and output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SKYMAP_")}
    environment = clean | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"} | variables
    command = [sys.executable, "-X", "faulthandler", "-P", "-m", "skymap_scanner", "--debug", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout


ACCESS: Mapping[str, dict[str, str]] = {
    "password": {"SKYMAP_EVENT_USER": "user", "SKYMAP_EVENT_PASSWORD": MARKERS["password"]},
    "token": {"SKYMAP_EVENT_TOKEN": MARKERS["token"]},
}


@pytest.mark.parametrize("kind", ACCESS)
def test_finished_scan_leaves_no_secret_of_its_event(tmp_path: Path, url: str, kind: str) -> None:
    source = f"{url}/event?signature={MARKERS['signature']}"
    words = ["run", source, "-o", "out", "--levels", "1:0", "--seeds", "1", "--reconstruction", "dummy"]
    code, output = run(tmp_path, *words, "--workers", "1", "--format", "json", **ACCESS[kind])
    assert code == 0, output.decode()
    assert found_in(output) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".zst", ".log"}
    assert {str(path): found_in(path.read_bytes()) for path in files if found_in(path.read_bytes())} == {}
    assert "(digest " in json.loads((tmp_path / "out/scan.json").read_text())["event"]
    again, output = run(tmp_path, *words, "--workers", "1", "--format", "json", **ACCESS[kind])
    assert (again, found_in(output)) == (0, [])  # the same scan, although the record holds only a digest of its query


@pytest.mark.parametrize("kind", ACCESS)
def test_rejected_event_is_reported_without_secrets(tmp_path: Path, url: str, kind: str) -> None:
    source = f"{url}/elsewhere?signature={MARKERS['signature']}"
    code, output = run(tmp_path, "producer", source, "-n", "scan", **ACCESS[kind])
    assert code == 1
    assert b"403" in output
    assert b"Traceback" in output
    assert found_in(output) == []


def test_secrets_in_urls_and_options_are_rejected_unprinted(tmp_path: Path) -> None:
    password, broker = MARKERS["password"], MARKERS["broker"]
    for words in (
        ["producer", f"http://user:{password}@127.0.0.1:9/event", "-n", "scan"],
        ["collector", "-n", "scan", "--broker", "pulsar://127.0.0.1:9", "--auth-token", broker],
        ["collector", "-n", "scan", "--broker", f"pulsar://user:{password}@127.0.0.1:9"],
        ["collector", "-n", "scan", "--broker", "pulsar://127.0.0.1:9", "--admin-url", f"http://u:{password}@[::1]:9"],
    ):
        code, output = run(tmp_path, *words)
        assert code in {1, 2}, output.decode()
        assert found_in(output) == [], words[0]


def test_unavailable_broker_is_reported_without_its_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(MARKERS["broker"])
    options = ["--broker", "pulsar://127.0.0.1:9", "--admin-url", "http://127.0.0.1:9", "--auth-token", "token"]
    code, output = run(tmp_path, "watch", "-n", "scan", "--once", *options)
    assert code != 0
    assert found_in(output) == []


def test_crash_dump_contains_no_secret(tmp_path: Path) -> None:
    program = (
        "import faulthandler, os, signal; faulthandler.enable(all_threads=True);"
        "from skymap_scanner.event.download_options import Credentials;"
        "found = Credentials.from_environment(os.environ); print(found, [found], vars(found).keys());"
        "os.kill(os.getpid(), signal.SIGABRT)"
    )
    environment = os.environ | ACCESS["password"]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGABRT
    assert b"Current thread" in done.stderr
    assert b"Credentials()" in done.stdout
    assert found_in(done.stdout + done.stderr) == []
