"""Kill -9 every role, and the whole run, at random moments of a real scan; compare the files bit for bit.

python benchmarks/faults/kill.py event.json --levels 1:0 4:2 --kills 10
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
from contextlib import suppress
from pathlib import Path

ROLES = ("producer", "worker", "collector", "saver")


def start(event: Path, folder: Path, levels: list[str]) -> subprocess.Popen[bytes]:
    """Start the scan, or go on with it."""
    words = ["run", str(event), "-o", str(folder), "--levels", *levels, "--format", "json", "--format", "npz"]
    return subprocess.Popen(
        [sys.executable, "-m", "skymap_scanner", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


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


def digest(folder: Path) -> dict[str, str]:
    """Return the checksums of the finished files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(folder.glob("run*"))}


def scan_with_kills(arguments: argparse.Namespace, victim: str, folder: Path, length: float) -> tuple[int, float]:
    """Scan to the end while killing ``victim``; return how often it was killed and the seconds it took."""
    chance = random.Random(f"{victim}/{arguments.seed}")
    began = time.monotonic()
    run = start(arguments.event, folder, arguments.levels)
    killed = 0
    while killed < arguments.kills:
        time.sleep(chance.uniform(0.1, length / 4))
        if run.poll() is not None and victim != "run":
            break
        if victim == "run":
            run.kill()
            run.wait()
            run = start(arguments.event, folder, arguments.levels)
            killed += 1
        elif pids := role_processes(run, victim):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed += 1
    code = run.wait()
    if code != 0:
        raise SystemExit(f"{victim}: the run ended with exit code {code}")
    return killed, time.monotonic() - began


def main() -> None:
    """Scan undisturbed, then once for every victim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event", type=Path)
    parser.add_argument("--levels", nargs="+", default=["1:0", "4:2"])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        undisturbed = Path(temporary) / "undisturbed"
        if start(arguments.event, undisturbed, arguments.levels).wait() != 0:
            raise SystemExit("the undisturbed run failed: try it by hand")
        length = time.monotonic() - began
        expected = digest(undisturbed)
        print(f"undisturbed: {length:.1f} s; {expected}", flush=True)
        for victim in (*ROLES, "run"):
            folder = Path(temporary) / victim
            killed, seconds = scan_with_kills(arguments, victim, folder, length)
            same = "bit for bit the same" if digest(folder) == expected else f"DIFFERENT: {digest(folder)}"
            print(f"{victim}: killed {killed} times, {seconds:.1f} s, files {same}", flush=True)


if __name__ == "__main__":
    main()
