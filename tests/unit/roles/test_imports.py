"""What a role imports delays the first fit: all roles of a scan begin at the same moment, on the same cores."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("scipy", "astropy", "matplotlib", "healpy", "jinja2", "numba", "httpx", "yaml")


@pytest.mark.parametrize("role", ["producer.producer", "worker.worker", "collector.collector", "saver.saver"])
def test_no_role_imports_what_only_its_end_needs(role: str) -> None:
    code = f"import sys, skymap_scanner.roles.{role}; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"
