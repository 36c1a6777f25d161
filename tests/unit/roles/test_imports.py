"""What `run` and the roles import delays the first fit: they all begin at once, on the cores that the fits need."""

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
def test_nothing_is_imported_that_only_the_end_needs(module: str) -> None:
    code = f"import sys, skymap_scanner.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


def test_live_page_begins_without_what_only_its_maps_need() -> None:
    code = f"import sys, skymap_scanner.live.server; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "['jinja2']\n"
