"""Measure the memory, time and disk that the files of a map take: the saver, and ``skymap-scanner plot``.

    python benchmarks/scans/memory.py 512 2048 8192

For each nside, a scan with the dummy reconstruction refines twelve pixels a level down to that nside, in a temporary
folder. Then the saver alone, and ``plot`` from its JSON file, write the files in processes of their own, whose peak
memory is read (``ru_maxrss``). ``--format`` measures one format alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skymap_api.names import RESULT_FORMATS
from skymap_scanner.cli.plot import FORMATS
from skymap_scanner.event.demo import demo_event_path

#: The levels of the scan above the finest one.
COARSE = (8, 64, 512, 2048)


def main() -> None:
    """Print one line for each nside and command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nside", type=int, nargs="+")
    parser.add_argument("--format", action="append", default=[], dest="formats")
    asked = parser.parse_args()
    print(f"{'nside':>5}  {'command':<7}{'MiB':>6}{'s':>7}{'MB of files':>13}")
    for nside in asked.nside:
        with tempfile.TemporaryDirectory() as folder:
            measure(nside, asked.formats, Path(folder))


def measure(nside: int, formats: list[str], folder: Path) -> None:
    """Scan down to ``nside``, then measure the saver and ``plot``."""
    first, *finer = [*(coarse for coarse in COARSE if coarse < nside), nside]
    levels = f"{first}:0 " + " ".join(f"{level}:12" for level in finer)
    scan = ["--seeds", "1", "--reconstruction", "dummy", "--levels", levels]
    run(["run", str(demo_event_path()), "-o", str(folder / "scan"), *scan, "--workers", "1", "--format", "json"])
    words = [word for one in formats or RESULT_FORMATS for word in ("--format", one)]
    drawn = [word for one in formats or FORMATS for word in ("--format", one)]
    (result,) = (folder / "scan").glob("run*_*.json")
    report(nside, "plot", ["plot", str(result), "-o", str(folder / "plot"), *drawn], folder / "plot")

    broker = ["-n", "memory", "--broker", f"sqlite:///{folder / 'scan.sqlite'}"]
    roles = [
        start("producer", str(demo_event_path()), *broker, *scan),
        start("worker", *broker),
        start("collector", *broker),
    ]
    try:
        run(["saver", *broker, "-o", str(folder / "first" / "all.i3.zst"), "--format", "summary"])
    finally:
        for process in roles:
            process.terminate()
            process.wait()
    saver = ["saver", *broker, "-o", str(folder / "saver" / "all.i3.zst"), *words]
    report(nside, "saver", saver, folder / "saver")


def report(nside: int, name: str, words: list[str], folder: Path) -> None:
    """Run a command and print what it took."""
    began = time.monotonic()
    peak, code = run(words)
    written = sum(path.stat().st_size for path in folder.glob("*")) / 1e6
    failed = "" if code == 0 else f"  failed ({code})"
    print(f"{nside:>5}  {name:<7}{peak:>6.0f}{time.monotonic() - began:>7.1f}{written:>13.1f}{failed}", flush=True)


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start a command of the scanner."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-P", "-m", "skymap_scanner", *words], **quiet)


def run(words: list[str]) -> tuple[float, int]:
    """Run a command to its end; return its peak memory (MiB) and its exit code."""
    process = start(*words)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    return usage.ru_maxrss * unit / 2**20, process.returncode


if __name__ == "__main__":
    main()
