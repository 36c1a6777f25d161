"""What cannot be tested on this machine is left out, and said; in continuous integration it fails instead."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(why: str) -> NoReturn:
    """End this test: skipped with a reason, or, where the variable ``CI`` is set, failed."""
    if os.environ.get("CI"):
        pytest.fail(f"nothing is left out in CI: {why}", pytrace=False)
    pytest.skip(why)
