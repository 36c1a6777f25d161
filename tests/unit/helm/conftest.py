from __future__ import annotations

import os
import subprocess

import pytest
from tests.unit.helm.chart import HELM


@pytest.fixture(scope="session", autouse=True)
def helm_installed() -> None:
    """Leave these tests out where there is no helm; in CI helm.sh builds it, or they fail."""
    asked = subprocess.run([HELM, "version", "--short"], capture_output=True, text=True, check=False)
    if asked.returncode and not os.environ.get("CI"):
        pytest.skip(f"needs helm: {asked.stderr.strip()}")
    assert asked.returncode == 0, asked.stderr
