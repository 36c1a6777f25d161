"""The native node for the faults: its processes by their ids on this machine, its daemons, its control groups.

Everything in the node is a process of this machine in namespaces of its own (`dev/cluster/node`). A stopped daemon is
restarted as systemd would: with its command line, in the node's namespaces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")

#: How long a daemon must run to count as started, and for how long starts are tried (s).
STAYS_SECONDS, START_SECONDS = 3.0, 60.0

#: How long a process may take to end (s). An API server would wait a minute for its watches.
LEAVE_SECONDS = 20.0

#: Runs inside the node: joins the daemons' control groups, then starts the daemon, which outlives this shell.
_START = """
for controller in /sys/fs/cgroup/*; do echo $$ >"$controller/$0/system/cgroup.procs"; done
export PATH="/run/programs/bin:$PATH"
setsid "$@" >>"/run/cluster/logs/$1.log" 2>&1 </dev/null &
"""


@dataclass(frozen=True)
class Node:
    """The node of the native cluster ``name``, whose state is in ``folder``."""

    name: str
    folder: Path

    @property
    def init(self) -> int:
        """The id of the node's first process."""
        return int((self.folder / "init.pid").read_text())

    @property
    def root(self) -> Path:
        """The node's root folder with all its mounts."""
        return Path(f"/proc/{self.init}/root")

    @property
    def address(self) -> str:
        """The address of the node's API server."""
        host = (self.folder / "host").read_text().strip()
        return host.removesuffix("254") + "1"

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run a command inside the node, which must succeed; return its output."""
        return self.enter(self.init, ["--mount", "--net", "--uts", "--ipc", "--pid"], *words, stdin=stdin)

    @staticmethod
    def enter(pid: int, namespaces: Sequence[str], *words: str, stdin: str | None = None) -> str:
        """Run a command in these namespaces of a process; it must succeed."""
        command = ["nsenter", "--target", str(pid), *namespaces, "--", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def group(self, controller: str, *below: str) -> Path:
        """Return a control group of the node."""
        return GROUPS.joinpath(controller, self.name, *below)

    def daemon(self, program: str) -> int | None:
        """Return the process id of a daemon; None if it does not run."""
        for pid in _pids(self.group("memory", "system")):
            if command_of(pid)[:1] == [program]:
                return pid
        return None

    def start(self, words: Sequence[str]) -> None:
        """Start a daemon by its command line, again if it exits at once because another daemon is not up yet."""
        deadline = time.monotonic() + START_SECONDS
        while self.daemon(words[0]) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} does not keep running: see {self.folder / 'logs'}")
            self.run("bash", "-c", _START, self.name, *words)
            lasts = time.monotonic() + STAYS_SECONDS
            while time.monotonic() < lasts and self.daemon(words[0]) is not None:
                time.sleep(0.1)

    def pods(self) -> Iterator[int]:
        """Yield the processes of all pods."""
        for group in self._pod_groups():
            yield from _pids(group)

    def shims(self) -> list[int]:
        """Return containerd's shims, one process a pod."""
        return [
            pid
            for pid in _pids(self.group("memory", "system"))
            if any("containerd-shim" in word for word in command_of(pid)[:1])
        ]

    def container(self, uid: str, container: str) -> int | None:
        """Return the first process of a container (``containerd://ID``) of a pod; None if it has ended."""
        wanted = (f"pod{uid}", container.rpartition("/")[2])
        found = (group for group in self._pod_groups() if group.parts[-2:] == wanted)
        return next((pid for group in found for pid in sorted(_pids(group))), None)

    def _pod_groups(self) -> Iterator[Path]:
        """Yield the control groups of pods and containers; one that is removed meanwhile is skipped."""
        for folder, _, _ in os.walk(self.group("memory", "kubepods")):
            yield Path(folder)


def _pids(group: Path) -> list[int]:
    with suppress(OSError):
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    return []


def command_of(pid: int) -> list[str]:
    """Return the command line of a process; empty if it has ended."""
    with suppress(OSError):
        return [word.decode() for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    return []


def began(pid: int) -> str | None:
    """Return the start time of a process (ticks), which tells apart two processes of one id; None if it has ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None


def gone(pid: int, within: float = 60.0) -> None:
    """Wait until a process has ended."""
    birth, deadline = began(pid), time.monotonic() + within
    while birth is not None and began(pid) == birth:
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {pid} has not ended within {within:g} s")
        time.sleep(0.02)


def end(pid: int, how: signal.Signals) -> None:
    """Stop a process and wait; kill it after a time limit, as systemd does."""
    send(pid, how)
    try:
        gone(pid, LEAVE_SECONDS)
    except RuntimeError:
        send(pid, signal.SIGKILL)
        gone(pid)


def send(pid: int, what: signal.Signals, birth: str | None = None) -> None:
    """Send a signal, unless the process has ended or is not the one that began at ``birth``."""
    if birth is not None and began(pid) != birth:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, what)
