"""The operator as a process, for one namespace of a real cluster and one tenant of a real Pulsar."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from skymap_operator.settings import PREFIX
from testing.cluster.cluster import Namespace
from testing.pulsar.server import PulsarAddress
from testing.waiting import eventually

COMMAND = Path(sys.executable).with_name("skymap-operator")

#: An image that does not exist: pods are created and wait, as with a mistyped name.
NO_IMAGE = "registry.invalid/skymap-scanner:0"


def other_version(version: str, option: str = "", unknown: str = "") -> tuple[str, ...]:
    """Return the program of another version of the operator.

    It gives every container an ``option`` that no image knows, and cannot read specs with the field ``unknown``.
    """
    return sys.executable, "-m", "testing.cluster.other_version", version, option, unknown


@dataclass
class OperatorProcess:
    """``skymap-operator`` as a process that a test starts, stops and kills. All processes append to ``log``."""

    namespace: Namespace
    pulsar: PulsarAddress
    tenant: str
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    begun: int = 0
    level: str = "debug"
    program: tuple[str, ...] = (str(COMMAND),)

    def start(self) -> None:
        given = {
            "IMAGE": NO_IMAGE,
            "PULSAR_SERVICE_URL": self.pulsar.url,
            "PULSAR_ADMIN_URL": self.pulsar.admin_url,
            "PULSAR_TENANT": self.tenant,
            "EVENT_ADDRESSES": '["any", "!169.254.0.0/16"]',  # the tests serve events from this machine
            "METRICS_OF_SCANS": "true",
            "NAMESPACES": json.dumps([self.namespace.name]),
            "RETRY_INTERVAL": "1",
            "SCALING_INTERVAL": "1",
        } | self.settings
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment = inherited | {"KUBECONFIG": str(self.namespace.cluster.kubeconfig)}
        environment |= {f"{PREFIX}{name}": value for name, value in given.items()}
        with self.log.open("ab") as log:
            self.begun = log.tell()
            command = [*self.program, "--host", "127.0.0.1", "--port", "0", "--log-level", self.level]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait until the process has ended, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def url(self, path: str) -> str:
        """Return the URL of a path on its web server, once the log holds the port."""
        port = eventually(lambda: re.search(rb"/metrics on port (\d+)", self.log.read_bytes()[self.begun :]))
        assert port is not None
        return f"http://127.0.0.1:{int(port[1])}{path}"

    def get(self, path: str) -> httpx.Response:
        """Send a GET request to its web server, once that listens."""
        url = self.url(path)
        answer = eventually(lambda: _answer(url), lambda found: found is not None)  # not before it listens
        assert answer is not None
        return answer


def _answer(url: str) -> httpx.Response | None:
    with contextlib.suppress(httpx.ConnectError):
        return httpx.get(url, timeout=30)
    return None
