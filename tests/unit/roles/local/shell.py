"""Roles that are other programs, such as shell scripts."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def start(name: str, words: Sequence[str], log_file: Path) -> subprocess.Popen[bytes]:
    """Start a program; its output is appended to ``log_file``."""
    with log_file.open("ab") as output:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
