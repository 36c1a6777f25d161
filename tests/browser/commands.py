"""Commands that serve pages, and the links that they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def command(*words: object, variables: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the scanner until the end of the block; ``variables`` are added to its environment."""
    line = [sys.executable, "-P", "-m", "skymap_scanner", *map(str, words)]
    environment = {**os.environ, **(variables or {})}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def link_in(process: subprocess.Popen[str]) -> str:
    """Return the link in the first line that a command prints."""
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/\S*", process.stdout.readline())
    assert found
    return found[0]
