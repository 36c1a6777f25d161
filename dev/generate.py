"""Writes the files that are made from code: the CRD, its copy in the chart, reference pages, the picture of imports.

`python dev/generate.py` writes them all; `--check` writes nothing, names the files that are out of date, and exits 1.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Each file, and the arguments of Python that print it.
GENERATED = {
    "crds/skymapscans.yaml": "-m skymap_api.crd",
    "helm/skymap-scanner/files/skymapscans.yaml": "-m skymap_api.crd",
    "docs/reference/skymapscan.md": "-m skymap_api.reference",
    "docs/reference/commands.md": "-m skymap_scanner.cli.reference",
    "docs/reference/i3-classes.md": "-m skymap_scanner.i3.reference",
    "docs/reference/wire-format.md": "-m skymap_scanner.roles.reference",
    "docs/reference/operator-settings.md": "-m skymap_operator.reference settings",
    "docs/reference/metrics.md": "-m skymap_operator.reference metrics",
    "docs/images/imports.svg": "dev/import_graph.py",
}


def _print(command: str) -> str:
    """Run a generator in a process of its own, since click remembers how help was asked for before."""
    return subprocess.run(
        [sys.executable, "-P", *command.split()], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def main() -> None:
    """Write the files, or check them."""
    with ThreadPoolExecutor() as pool:
        texts = dict(zip(GENERATED, pool.map(_print, GENERATED.values()), strict=True))
    stale = [name for name, text in texts.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"Out of date: {', '.join(stale)}. Run: make generate")
        return
    for name in stale:
        (ROOT / name).write_text(texts[name])
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
