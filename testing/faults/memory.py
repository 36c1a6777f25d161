"""Out of memory: another process in the control group uses all of it, and the kernel kills the victim."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testing.faults.node import GROUPS, Node, gone
from testing.waiting import UnavailableError, eventually

#: Memory that the hog allocates, and the free memory of the group before that (bytes).
ALLOCATED, FREE = 512 << 20, 16 << 20

#: Joins the control group and allocates memory; the kernel may kill it, too.
_HOG = """
import sys, time
open(sys.argv[1], "w").write("0")
held = []
for _ in range(int(sys.argv[2]) >> 22):
    held.append(bytearray(b"x" * (1 << 22)))
time.sleep(1)
"""


def group_of(pid: int) -> Path:
    """Return the control group that accounts for a process's memory."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return GROUPS / "memory" / path.lstrip("/")
    raise RuntimeError(f"process {pid} is in no memory control group")


def exhaust(group: Path, allocated: int = ALLOCATED) -> None:
    """Let a control group run out of memory, then restore its limit."""
    limit = group / "memory.limit_in_bytes"
    before = limit.read_text()
    limit.write_text(str(int((group / "memory.usage_in_bytes").read_text()) + FREE))
    try:
        command = [sys.executable, "-c", _HOG, str(group / "cgroup.procs"), str(allocated)]
        subprocess.run(command, check=False, capture_output=True, timeout=120)
    finally:
        with suppress(OSError):  # the group was removed with its container
            limit.write_text(before)


@contextmanager
def own_group(node: Node, pid: int) -> Iterator[Path]:
    """Move a process, which shares its control group with others, to one of its own."""
    group = node.group("memory", "victim")
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield group
    finally:
        gone(pid)
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group; the kernel keeps it for a moment after its last process."""

    def removed() -> bool:
        try:
            group.rmdir()
        except OSError as error:
            raise UnavailableError(str(error)) from error
        return True

    eventually(removed, within=30.0)


def end_by_memory(group: Path, pid: int) -> None:
    """Exhaust the memory of a process's group until the kernel kills it.

    Raises
    ------
    RuntimeError
        If the process survives.
    """
    # The kernel's first choice, before the hog.
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    exhaust(group)
    try:
        gone(pid, 20.0)  # the kernel frees the memory of a large process slowly
    except RuntimeError as error:
        raise RuntimeError(f"the kernel did not kill process {pid} for lack of memory") from error
