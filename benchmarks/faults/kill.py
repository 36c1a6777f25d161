"""Kill -9 every role, the whole run and the broker at random moments of a real scan; compare the files bit for bit.

    python -m benchmarks.faults.kill event.json --levels 1:0 4:2 --kills 10
    python -m benchmarks.faults.kill event.json --pulsar --kills worker=20 broker=5 producer=5 collector=5 saver=5

The scan over the embedded broker, undisturbed, tells what the files must be. With ``--pulsar`` the others go over a
real Pulsar of their own (make pulsar-install), which is a victim too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from testing.pulsar.server import PulsarServer

ROLES = ("producer", "worker", "collector", "saver")


@dataclass
class Scan:
    """One scan of the event into ``folder``, over ``server`` or the embedded broker."""

    event: Path
    folder: Path
    levels: Sequence[str]
    server: PulsarServer | None = None
    more: Sequence[str] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the scan, or go on with it."""
        words = ["run", str(self.event), "-o", str(self.folder), "--levels", *self.levels]
        words += ["--format", "json", "--format", "npz", *self.more]
        if self.server is not None:
            address = self.server.address
            words += ["--broker", address.url, "--admin-url", address.admin_url, "-n", self.folder.name]
        with self.folder.with_suffix(".log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "skymap_scanner", *words], stdout=log, stderr=log)

    def digest(self) -> dict[str, str]:
        """Return the checksums of the finished files."""
        files = sorted(self.folder.glob("run*"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}

    def repeats(self) -> str:
        """Return what the collectors said of repeats at their end."""
        lines = (self.folder / "logs" / "collector.log").read_text(errors="replace").splitlines()
        return next((line.partition("; ")[2] for line in reversed(lines) if "repeated fits" in line), "not said")


def role_processes(run: subprocess.Popen[bytes], role: str) -> list[int]:
    """Return the process ids of a role."""
    listed = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    found = []
    for pid in map(int, listed.read_text().split() if listed.exists() else []):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # it ended between the two looks
            continue
        if role.encode() in arguments:
            found.append(pid)
    return found


def scan_with_kills(scan: Scan, victims: Sequence[str], pause: float, seed: int) -> Counter[str]:
    """Scan to the end while killing ``victims``, one every ``pause`` seconds at most; return how often each was killed.

    A victim that is not there, as a role that has done its work, is left out.
    """
    chance = random.Random(f"{victims}/{seed}")
    run = scan.start()
    killed: Counter[str] = Counter()
    while not role_processes(run, "worker") and run.poll() is None:
        time.sleep(0.05)  # without a broker there is nothing to begin with, so let it begin
    for victim in victims:
        time.sleep(chance.uniform(0.1, pause))
        if victim == "run":
            run.kill()
            run.wait()
            run = scan.start()
            killed[victim] += 1
        elif run.poll() is not None:
            break
        elif victim == "broker" and scan.server is not None:
            scan.server.kill()
            scan.server.start()
            killed[victim] += 1
        elif pids := role_processes(run, victim):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed[victim] += 1
    code = run.wait()
    if code != 0:
        raise SystemExit(f"the run ended with exit code {code}: {scan.folder.with_suffix('.log').read_text()}")
    return killed


def kills_of(words: Sequence[str], pulsar: bool) -> dict[str, int]:
    """Read ``10`` (each victim) or ``worker=20 broker=5`` (only these)."""
    victims = (*ROLES, "run", *(["broker"] if pulsar else []))
    if len(words) == 1 and words[0].isdigit():
        return dict.fromkeys(victims, int(words[0]))
    pairs = {name: int(number) for name, _, number in (word.partition("=") for word in words)}
    if unknown := pairs.keys() - set(victims):
        raise SystemExit(f"unknown victims: {', '.join(sorted(unknown))}; there are {', '.join(victims)}")
    return pairs


def main() -> None:
    """Scan undisturbed, then once for every victim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event", type=Path)
    parser.add_argument("--levels", nargs="+", default=["1:0", "4:2"])
    parser.add_argument("--kills", nargs="+", default=["10"])
    parser.add_argument("--pulsar", action="store_true")
    parser.add_argument("--pause", type=float, help="longest time between kills (s)  [default: a quarter of a scan]")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kills = kills_of(arguments.kills, arguments.pulsar)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        undisturbed = Scan(arguments.event, temporary / "undisturbed", arguments.levels)
        began = time.monotonic()
        if undisturbed.start().wait() != 0:
            raise SystemExit("the undisturbed run failed: try it by hand")
        length = time.monotonic() - began
        expected = undisturbed.digest()
        print(f"undisturbed: {length:.1f} s; {expected}", flush=True)
        server = stack.enter_context(PulsarServer(temporary / "pulsar")) if arguments.pulsar else None
        for victim, number in kills.items():
            scan = Scan(arguments.event, temporary / victim, arguments.levels, server)
            began = time.monotonic()
            killed = scan_with_kills(scan, [victim] * number, arguments.pause or length / 4, arguments.seed)[victim]
            seconds = time.monotonic() - began
            same = "bit for bit the same" if scan.digest() == expected else f"DIFFERENT: {scan.digest()}"
            print(f"{victim}: killed {killed} times, {seconds:.1f} s, files {same}; {scan.repeats()}", flush=True)


if __name__ == "__main__":
    main()
