"""The logs of a scan's pods: which there are, the prefix of their lines, printing and following them together."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from skymap_api.names import COMPONENT_LABEL, SCAN_LABEL
from skymap_scanner.errors import ClusterError
from skymap_scanner.kubectl.client import Kubectl, explain_failure, redacted

Pod = dict[str, Any]

#: Receives the prefix of a log and one of its lines.
Emit = Callable[[str, str], None]

#: Most logs followed at a time: each needs a kubectl of its own.
MAX_FOLLOWED = 32
#: What is read of a line (bytes): a pod may write one without end. The end of what was read may be half a secret, which
#: is not recognized, so as much as the longest one has is left out there, with the rest of the line.
LONGEST_LINE, LONGEST_SECRET = 2**16, 2**13
LEFT_OUT = " ... (the rest of this line is left out)"
_MAX_READ = 8
_POLL_INTERVAL = 2.0
#: First line of a "log" that the kubelet has removed with its container.
_REMOVED = "unable to retrieve container logs for "


@dataclass(frozen=True)
class ContainerLog:
    """The log of one container: of its current run, or of the one before (``previous``)."""

    role: str
    pod: str
    container: str
    restarts: int = 0
    previous: bool = False

    @property
    def prefix(self) -> str:
        """The prefix of its lines."""
        container = "" if self.container == self.role else f" {self.container}"
        return f"{self.role} {self.pod}{container}{' (previous)' if self.previous else ''}"

    def kubectl_arguments(self, tail: int | None, follow: bool) -> list[str]:
        """Return the arguments with which kubectl prints it."""
        words = ["logs", self.pod, "--container", self.container]
        words += [] if tail is None else [f"--tail={tail}"]
        return words + ["--follow"] * follow + ["--previous"] * self.previous


@dataclass(frozen=True)
class NotStarted:
    """A container that has not started, and why."""

    log: ContainerLog
    reason: str


def list_pods(kubectl: Kubectl, base: str, role: str | None = None) -> list[Pod]:
    """Return the pods of a scan, finished ones too, oldest first."""
    selector = f"{SCAN_LABEL}={base}" + ("" if role is None else f",{COMPONENT_LABEL}={role}")
    pods = kubectl.items("pods", "--selector", selector)
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def container_logs(pods: Iterable[Pod]) -> tuple[list[ContainerLog], list[NotStarted]]:
    """Return the logs of the pods, and the containers that have none yet."""
    logs: list[ContainerLog] = []
    not_started: list[NotStarted] = []
    for pod in pods:
        role, name = pod["metadata"].get("labels", {}).get(COMPONENT_LABEL, "pod"), pod["metadata"]["name"]
        status = pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        if not containers:
            not_started.append(NotStarted(ContainerLog(role, name, role), _why_no_container(status)))
        for one in containers:
            restarts = one.get("restartCount", 0)
            has_previous = one.get("lastState", {}).get("terminated") is not None
            if has_previous:
                logs.append(ContainerLog(role, name, one["name"], restarts, previous=True))
            current = ContainerLog(role, name, one["name"], restarts)
            waiting = one.get("state", {}).get("waiting")
            if waiting is None:
                logs.append(current)
            elif not has_previous:
                reason = waiting.get("message") or waiting.get("reason") or "no reason given"
                not_started.append(NotStarted(current, reason))
    return logs, not_started


def _why_no_container(status: dict[str, Any]) -> str:
    """Return why a pod has no container yet."""
    for one in status.get("conditions", ()):
        if one.get("status") == "False" and one.get("message"):
            return str(one["message"])
    return str(status.get("message") or status.get("reason") or "not scheduled to a node yet")


def print_logs(kubectl: Kubectl, pods: Iterable[Pod], tail: int | None, emit: Emit) -> None:
    """Emit all logs, one after the other."""
    logs, not_started = container_logs(pods)
    for one in not_started:
        emit(one.log.prefix, f"has not started: {one.reason}")
    with ThreadPoolExecutor(_MAX_READ) as pool:
        for log, lines in zip(logs, pool.map(lambda one: _read(kubectl, one, tail), logs), strict=True):
            for line in lines:
                emit(log.prefix, redacted(line))


def _read(kubectl: Kubectl, log: ContainerLog, tail: int | None) -> list[str]:
    """Return the lines of one log, or why it cannot be read: the pod may have been deleted meanwhile."""
    try:
        lines = kubectl.run(*log.kubectl_arguments(tail, follow=False)).splitlines()
        return [] if log.previous and lines and lines[0].startswith(_REMOVED) else lines
    except ClusterError as error:
        return [f"cannot read its log: {error}"]


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a log, redacted, and the begin of those that are too long."""
    for piece in iter(partial(stream.readline, LONGEST_LINE), b""):
        line = redacted(piece.decode(errors="replace").rstrip("\r\n"))
        if len(piece) < LONGEST_LINE or piece.endswith(b"\n"):
            yield line
            continue
        yield line[:-LONGEST_SECRET] + LEFT_OUT
        while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass


@dataclass
class LogFollower:
    """Follows the logs of a scan's pods, and of pods that are created later.

    ``list_pods`` returns the pods; ``emit`` is called by one thread at a time.
    """

    kubectl: Kubectl
    list_pods: Callable[[], list[Pod]]
    emit: Emit
    tail: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _followed: set[ContainerLog] = field(default_factory=set)
    _reported: set[NotStarted] = field(default_factory=set)
    _failure: BaseException | None = None
    _open: list[tuple[subprocess.Popen[bytes], threading.Thread]] = field(default_factory=list)

    def run(self, done: Callable[[], bool]) -> None:
        """Follow until ``done()``, and then to the end of the logs."""
        try:
            while True:
                if self._failure is not None:
                    raise self._failure
                ended = done()
                waiting = self._follow_new_logs()
                if ended and not waiting and not self._active():
                    return
                time.sleep(_POLL_INTERVAL)
        finally:
            for process, thread in self._open:
                if process.poll() is None:
                    process.terminate()
                thread.join()
                process.wait()

    def _follow_new_logs(self) -> int:
        """Start to follow new logs; return how many have to wait until others end."""
        logs, not_started = container_logs(self.list_pods())
        for one in not_started:
            if one not in self._reported:
                self._reported.add(one)
                self._emit(one.log.prefix, f"has not started: {one.reason}")
        new = [log for log in logs if not log.previous and log not in self._followed]
        room = max(0, MAX_FOLLOWED - self._active())
        for log in new[:room]:
            self._followed.add(log)
            self._start(log)
        return len(new[room:])

    def _start(self, log: ContainerLog) -> None:
        words = log.kubectl_arguments(self.tail, follow=True)
        process = self.kubectl.start(*words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        thread = threading.Thread(target=self._pass_on_or_fail, args=(log, process), daemon=True)
        thread.start()
        self._open.append((process, thread))

    def _pass_on_or_fail(self, log: ContainerLog, process: subprocess.Popen[bytes]) -> None:
        """Pass a log on; an error, such as of standard output, ends `run`, which raises it."""
        try:
            self._pass_on(log, process)
        except BaseException as error:  # noqa: BLE001 - raised in the other thread
            self._failure = error

    def _pass_on(self, log: ContainerLog, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - pipes
        assert process.stderr is not None  # noqa: S101
        with process.stdout, process.stderr:
            for line in _lines(process.stdout):
                self._emit(log.prefix, line)
            stderr = process.stderr.read(LONGEST_LINE).decode(errors="replace")
        if process.wait() > 0:
            self._emit(log.prefix, f"cannot follow its log: {explain_failure(stderr, process.returncode)}")

    def _emit(self, prefix: str, line: str) -> None:
        with self._lock:
            self.emit(prefix, line)

    def _active(self) -> int:
        return sum(thread.is_alive() for _, thread in self._open)
