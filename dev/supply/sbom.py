"""Write SBOMs in the format of CycloneDX 1.6, with licences and the graph of dependencies.

    python -m dev.supply.sbom FOLDER

One is for the wheel with all extras, skymap_scanner-VERSION.cdx.json, and one for each image, such as
worker-VERSION.cdx.json. Each describes an environment that holds the packages of the lock files and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from dev.supply.lock import FOLDER, IMAGES, ROOT

TOOLS = Path(sys.executable).parent
WHEEL = ("scanner", "plots", "pulsar", "kafka", "page", "operator")


def environment_of(locks: Sequence[str], folder: Path) -> Path:
    """Install lock files into a new environment in a folder; return its Python."""
    python = folder / "bin/python"
    subprocess.run([TOOLS / "uv", "venv", "--quiet", "--no-config", "--python", sys.executable, folder], check=True)
    words = ["--python", python, "--require-hashes", "--only-binary", ":all:"]
    words += [word for name in locks for word in ("--requirement", FOLDER / f"{name}.txt")]
    subprocess.run([TOOLS / "uv", "pip", "install", "--quiet", "--no-config", *words], check=True)
    return python


def describe(locks: Sequence[str], name: str | None, path: Path) -> None:
    """Write the SBOM of what lock files install; ``name`` replaces the project's."""
    with tempfile.TemporaryDirectory() as folder:
        python = environment_of(locks, Path(folder) / "environment")
        words = ["--pyproject", ROOT / "pyproject.toml", "--mc-type", "application", "--spec-version", "1.6"]
        words += ["--output-reproducible", "--output-format", "JSON", "--output-file", path, python]
        subprocess.run([TOOLS / "cyclonedx-py", "environment", *words], check=True)
    if name is not None:
        document = json.loads(path.read_text())
        document["metadata"]["component"] |= {"name": name, "type": "container"}
        path.write_text(json.dumps(document, indent=2) + "\n")


def main() -> None:
    """Write all SBOMs to the folder that the command line names, and print their paths."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dev.supply.sbom FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, locks in {"skymap_scanner": WHEEL, **IMAGES}.items():
        path = folder / f"{name}-{version}.cdx.json"
        describe(locks, f"skymap-scanner/{name}" if name in IMAGES else None, path)
        print(path)


if __name__ == "__main__":
    main()
