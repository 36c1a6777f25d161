"""Processes of this machine, read from /proc (``proc(5)``, Linux)."""

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
    """Return the current usage of a process.

    Raises
    ------
    OSError
        If the process has ended.
    """
    folder = Path(f"/proc/{pid}")
    # The fields after the name, which may contain blanks: user and system time, threads, resident pages.
    words = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    mib = int(words[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Usage(mib, cpu, int(words[17]), sum(1 for _ in (folder / "fd").iterdir()))


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    return state(pid) not in {"", "Z"}


def state(pid: int) -> str:
    """Return the state of a process, such as ``S`` (sleeping) or ``T`` (stopped); empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def roles(run: int) -> dict[str, list[int]]:
    """Return the roles that a ``skymap-scanner run`` has started, with their process ids."""
    found: dict[str, list[int]] = {}
    listed = Path(f"/proc/{run}/task/{run}/children")
    for pid in map(int, listed.read_text().split() if listed.exists() else []):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            continue
        if b"skymap_scanner" in arguments:
            found.setdefault(arguments[arguments.index(b"skymap_scanner") + 1].decode(), []).append(pid)
    return found
