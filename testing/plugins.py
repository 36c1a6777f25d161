"""A reconstruction of a test's own, installed as a distribution that this process and its children find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def install_reconstruction(folder: Path, patch: pytest.MonkeyPatch, name: str, source: str) -> Path:
    """Install the module ``source`` below ``folder`` as the reconstruction ``name``, its class ``name`` capitalised.

    Returns the folder of the distribution, which stays on the path until the test ends.
    """
    packages = folder / "packages"
    about = packages / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / f"{name}_plugin.py").write_text(source)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    point = f"[skymap_scanner.reconstructions]\n{name} = {name}_plugin:{name.capitalize()}\n"
    (about / "entry_points.txt").write_text(point)
    patch.syspath_prepend(str(packages))  # for the producer, which runs in this process
    patch.setenv("PYTHONPATH", os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]))
    return packages
