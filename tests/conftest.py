"""Fixtures and settings of all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["testing.pulsar.fixtures", "testing.cluster.fixtures", "testing.kafka.schema", "testing.kafka.server"]

# A test must not fail because the machine is slow.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


def pytest_configure() -> None:
    """Make the tests independent of the terminal's width, and of whether they run as a background job.

    A shell's background jobs ignore SIGINT; the tests and the commands that they start must not.
    """
    os.environ.pop("COLUMNS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: gzip writes the time into them, and each process must find the same tests."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="module", autouse=True)
def open_resources() -> Iterator[None]:
    """Collect garbage after each file: what it left open fails its last test, not one of a later file."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository, with events and files that IceTray wrote."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs files that IceTray wrote, in the folder ../shared, which is not part of the repository")
    return folder
