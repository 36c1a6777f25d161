"""Whole scans as ``skymap-scanner run`` starts them, whose roles and broker are killed at random moments."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from testing.map_files import map_files
from testing.processes import roles
from testing.pulsar.replicated import ReplicatedPulsar
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

#: How long the first worker may take to start (s).
START_SECONDS = 120.0

#: How long a role may take to start again (s).
RESTART_SECONDS = 20.0


@dataclass
class LocalScan:
    """A scan of the event into ``folder``, over ``server`` or else the embedded broker."""

    event: Path
    folder: Path
    levels: Sequence[str]
    server: PulsarServer | ReplicatedPulsar | None = None
    more: Sequence[str] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the scan, or resume it."""
        words = ["run", str(self.event), "-o", str(self.folder), "--levels", *self.levels]
        words += ["--format", "json", "--format", "npz", *self.more]
        if self.server is not None:
            address = self.server.address
            words += ["--broker", address.url, "--admin-url", address.admin_url, "-n", self.folder.name]
        with self.folder.with_suffix(".log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-P", "-m", "skymap_scanner", *words], stdout=log, stderr=log)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start or resume the scan, and kill it if it still runs when the block ends; its roles end with it."""
        process = self.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def digest(self) -> dict[str, str]:
        """Return the checksums of the finished files."""
        files = map_files(self.folder).items()
        return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in files}

    def repeats(self) -> str:
        """Return the number of repeated fits, as the last collector logs it."""
        lines = (self.folder / "logs" / "collector.log").read_text(errors="replace").splitlines()
        return next((line.partition("; ")[2] for line in reversed(lines) if "repeated fits" in line), "not logged")


def scan_with_kills(scan: LocalScan, victims: Sequence[str], pause: float, seed: int) -> Counter[str]:
    """Scan to the end while killing ``victims``, one every ``pause`` seconds at most; count the kills.

    A role that does not start again within `RESTART_SECONDS` is left out: it may have finished.
    """
    chance = random.Random(f"{victims}/{seed}")
    run = scan.start()
    killed: Counter[str] = Counter()
    # Without the broker a run cannot begin, so the first kill waits for the first worker.
    eventually(lambda: "worker" in roles(run.pid) or run.poll() is not None, within=START_SECONDS)
    for victim in victims:
        time.sleep(chance.uniform(0.1, pause))  # the moment is what varies
        if victim == "run":
            run.kill()
            run.wait()
            run = scan.start()
            killed[victim] += 1
        elif run.poll() is not None:
            break
        elif victim == "broker" and isinstance(scan.server, PulsarServer):
            scan.server.kill()
            scan.server.start()
            killed[victim] += 1
        elif pids := _running(run, victim):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed[victim] += 1
    code = run.wait()
    if code != 0:
        raise SystemExit(f"the run ended with exit code {code}: {scan.folder.with_suffix('.log').read_text()}")
    return killed


def _running(run: subprocess.Popen[bytes], role: str) -> list[int]:
    """Wait until the role runs, and return its process ids; none if it has finished."""
    with suppress(AssertionError):
        eventually(lambda: role in roles(run.pid) or run.poll() is not None, within=RESTART_SECONDS)
    return roles(run.pid).get(role, [])
