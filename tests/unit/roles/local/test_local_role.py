"""Stopping the process of a role that ignores SIGTERM."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest

from skymap_scanner.roles.local.local_role import LocalRole


class Stubborn:
    """A process that ignores SIGTERM, and needs ``dying`` seconds to disappear when it is killed."""

    def __init__(self, dying: float) -> None:
        self.dying = dying
        self.killed = False

    def poll(self) -> int | None:
        return None

    def wait(self, timeout: float) -> int:
        if not self.killed or timeout < self.dying:
            raise subprocess.TimeoutExpired("role", timeout)
        return -9

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize(("dying", "words"), [(2.0, ""), (1e9, "worker-0 does not end, 10 s after it was killed")])
def test_killed_process_may_take_time_to_disappear(dying: float, words: str, caplog: pytest.LogCaptureFixture) -> None:
    process = Stubborn(dying)
    role = LocalRole("worker-0", [], Path("log"), start=lambda *_: process)
    role.update()
    role.terminate()
    with caplog.at_level(logging.WARNING):
        role.end(0.1)
    assert process.killed
    assert "\n".join(caplog.messages) == words
