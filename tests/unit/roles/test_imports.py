"""Imports of `run` and the roles: they start together, so a slow import in any of them delays the first fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("scipy", "astropy", "matplotlib", "healpy", "jinja2", "numba", "httpx", "yaml")


@pytest.mark.parametrize(
    "module",
    [
        "cli.local_run",
        "roles.producer.producer",
        "roles.worker.worker",
        "roles.collector.collector",
        "roles.saver.saver",
    ],
)
def test_roles_start_without_imports_for_the_end_of_a_scan(module: str) -> None:
    code = f"import sys, skymap_scanner.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


def test_live_page_starts_without_imports_for_its_maps() -> None:
    code = f"import sys, skymap_scanner.live.server; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "['jinja2']\n"
