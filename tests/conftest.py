"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ["testing.pulsar.fixtures", "testing.cluster.fixtures"]


def pytest_configure() -> None:
    """Let tests not depend on who runs them: on a terminal's width, and on a shell's background jobs.

    These are told not to hear Ctrl-C; the tests do, and every command that they start.
    """
    os.environ.pop("COLUMNS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder ``shared`` beside the repository: events and files written by real IceTray."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the folder ../shared with files written by real IceTray, which a plain clone does not have")
    return folder
