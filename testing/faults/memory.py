"""Out of memory: something else in a process's control group eats all of it, and the kernel ends the process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testing.faults.node import GROUPS, Node, gone

#: How much is eaten beyond what is left (bytes), and how much is left.
EATEN, LEFT = 512 << 20, 16 << 20

#: Joins the control group, then eats; the kernel may end it, too.
_EATER = """
import sys, time
open(sys.argv[1], "w").write("0")
eaten = []
for _ in range(int(sys.argv[2]) >> 22):
    eaten.append(bytearray(b"x" * (1 << 22)))
time.sleep(1)
"""


def group_of(pid: int) -> Path:
    """Return the control group that accounts for a process's memory."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return GROUPS / "memory" / path.lstrip("/")
    raise RuntimeError(f"process {pid} is in no control group of memory")


def exhaust(group: Path, eaten: int = EATEN) -> None:
    """Let a control group run out of memory, and give it back the limit that it had."""
    limit = group / "memory.limit_in_bytes"
    before = limit.read_text()
    limit.write_text(str(int((group / "memory.usage_in_bytes").read_text()) + LEFT))
    try:
        command = [sys.executable, "-c", _EATER, str(group / "cgroup.procs"), str(eaten)]
        subprocess.run(command, check=False, capture_output=True, timeout=120)
    finally:
        with suppress(OSError):  # the group went with its container
            limit.write_text(before)


@contextmanager
def own_group(node: Node, pid: int) -> Iterator[Path]:
    """Give a process, which shares its control group with others, one of its own."""
    group = node.group("memory", "victim")
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield group
    finally:
        gone(pid)
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group, which the kernel keeps for a moment after its last process."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def end_by_memory(group: Path, pid: int) -> None:
    """Have the kernel end a process for want of memory in its group.

    Raises
    ------
    RuntimeError
        If it lives on.
    """
    # The first choice of the kernel, before what eats.
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    exhaust(group)
    try:
        gone(pid, 20.0)  # a large process takes its time
    except RuntimeError as error:
        raise RuntimeError(f"the kernel has not ended process {pid} for want of memory") from error
