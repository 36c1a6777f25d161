from __future__ import annotations

import subprocess

import pytest
from testing.chart import HELM
from testing.leaving import leave_out


@pytest.fixture(scope="session", autouse=True)
def helm_installed() -> None:
    """Skip these tests without helm; in CI helm.sh builds it, or they fail."""
    asked = subprocess.run([HELM, "version", "--short"], capture_output=True, text=True, check=False)
    if asked.returncode:
        leave_out(f"needs helm: {asked.stderr.strip()}")
