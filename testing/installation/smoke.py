"""Checks an installation with all extras: every module is imported, a scan writes every format, the operator starts.

    PYTHON -I smoke.py FOLDER [--fit]

runs in the environment that holds the installation, and writes to the folder. ``--fit`` also compiles the likelihood,
which takes minutes, and fits with it. It uses nothing of the checkout, so it is a script of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("skymap_api", "skymap_scanner", "skymap_operator")
#: Modules that do something when they are imported.
PROGRAMS = {"skymap_scanner.__main__"}
ENDINGS = (
    "_1.json",
    ".npz",
    ".summary.txt",
    ".summary.json",
    ".multiorder.fits",
    ".fits.gz",
    ".contours.geojson",
    ".region_90.moc.fits",
    ".region_90.moc.json",
    ".plot_allsky.png",
    ".history.csv",
    ".report.html",
    ".i3.zst",
)
COMMANDS = Path(sys.executable).parent


def import_everything() -> int:
    """Import all modules of the packages; return their number."""
    found = 0
    for package in map(importlib.import_module, PACKAGES):
        place = Path(package.__file__ or "")
        if not place.is_relative_to(sys.prefix):
            sys.exit(f"{package.__name__} is imported from {place}, not from the installation in {sys.prefix}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in PROGRAMS:
                importlib.import_module(module.name)
                found += 1
    return found


def run(folder: Path, *words: str) -> str:
    """Run a command of the installation; return what it prints."""
    command = [str(COMMANDS / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check_scan(folder: Path, *words: str) -> None:
    """Scan the demo event, and check that every format is there."""
    run(
        folder,
        "skymap-scanner",
        "run",
        "demo",
        "-o",
        "out",
        "--levels",
        "1:0",
        "--seeds",
        "1",
        "--workers",
        "1",
        *words,
    )
    names = [path.name for path in (folder / "out").iterdir()]
    missing = [ending for ending in ENDINGS if not any(name.endswith(ending) for name in names)]
    if missing:
        sys.exit(f"the scan wrote no {', '.join(missing)}, but {', '.join(sorted(names))}")


def main() -> None:
    """Check everything; exit with a message where something is wrong."""
    folder = Path(sys.argv[1])
    modules = import_everything()
    version = run(folder, "skymap-scanner", "--version")
    run(folder, "skymap-operator", "--help")
    check_scan(folder, "--reconstruction", "dummy")
    if "--fit" in sys.argv[2:]:
        check_scan(folder, "--restart", "--pixel-list", "0")
    print(f"{version.strip()}: {modules} modules, all formats")


if __name__ == "__main__":
    main()
