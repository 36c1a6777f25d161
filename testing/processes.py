"""Processes of this machine, read from /proc (``proc(5)``, Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The roles that `run` forks: their processes are named after them.
ROLES = ("producer", "worker", "collector", "saver")


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
    return next(iter(_read(pid, "stat").rpartition(")")[2].split()), "")


def roles(run: int) -> dict[str, list[int]]:
    """Return the roles and other processes of a ``skymap-scanner run``, by the first word of their command lines."""
    found: dict[str, list[int]] = {}
    for pid in children(run):
        arguments = _read(pid, "cmdline").split("\0")
        if "skymap_scanner.cli.fork_server" in arguments:
            for role in children(pid):
                name = _read(role, "comm").strip().partition("-")[0]
                if name in ROLES:  # the others have only just been forked
                    found.setdefault(name, []).append(role)
        elif "skymap_scanner" in arguments:
            found.setdefault(arguments[arguments.index("skymap_scanner") + 1], []).append(pid)
    return found


def children(process: int) -> list[int]:
    """Return the processes that a process has started, and that have not ended."""
    return [int(number) for number in _read(process, f"task/{process}/children").split()]


def _read(process: int, name: str) -> str:
    """Return a file of /proc; nothing if the process has ended."""
    try:
        return Path(f"/proc/{process}/{name}").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
