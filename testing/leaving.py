"""Skips tests that this machine cannot run; in continuous integration they fail instead."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(why: str) -> NoReturn:
    """Skip this test with a reason, or fail it if the variable ``CI`` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"no test is skipped in CI: {why}", pytrace=False)
    pytest.skip(why)
