"""What a process of this machine uses, read from /proc (``proc(5)``, Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Resident memory (MiB), processor time of all threads (s), threads, and open files."""

    mib: float
    cpu: float
    threads: int
    files: int


def usage(pid: int) -> Usage:
    """Return what a process uses now.

    Raises
    ------
    OSError
        If it has ended.
    """
    folder = Path(f"/proc/{pid}")
    # After the name, which may hold blanks: user and system time, threads, resident pages.
    words = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    mib = int(words[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Usage(mib, cpu, int(words[17]), sum(1 for _ in (folder / "fd").iterdir()))
