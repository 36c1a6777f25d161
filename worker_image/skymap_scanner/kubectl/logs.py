"""The logs of a scan's pods: which streams there are, what stands before each line, and reading them side by side."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from skymap_api.names import COMPONENT_LABEL, SCAN_LABEL
from skymap_scanner.errors import ClusterError
from skymap_scanner.kubectl.client import Kubectl, explained, redacted

Pod = dict[str, Any]

#: Logs that are read at a time: each is a kubectl of its own.
AT_ONCE = 32
_LOOK_EVERY = 2.0
#: What the kubelet gives, as if it were the log, once it has removed an earlier container.
_GONE = "unable to retrieve container logs for "


@dataclass(frozen=True)
class Stream:
    """The log of one container: of its present run, or of the one before (``previous``)."""

    role: str
    pod: str
    container: str
    restarts: int = 0
    previous: bool = False

    @property
    def prefix(self) -> str:
        """What stands before its lines."""
        inner = "" if self.container == self.role else f" {self.container}"
        return f"{self.role} {self.pod}{inner}{' (before)' if self.previous else ''}"

    def words(self, tail: int | None, follow: bool) -> list[str]:
        """Return how kubectl is asked for it."""
        words = ["logs", self.pod, "--container", self.container]
        words += [] if tail is None else [f"--tail={tail}"]
        return words + ["--follow"] * follow + ["--previous"] * self.previous


@dataclass(frozen=True)
class Silent:
    """A container that has not started, and why."""

    stream: Stream
    why: str


def pods_of(kubectl: Kubectl, base: str, role: str | None = None) -> list[Pod]:
    """Return the pods of a scan, those that have ended too, in the order in which they were made."""
    selector = f"{SCAN_LABEL}={base}" + ("" if role is None else f",{COMPONENT_LABEL}={role}")
    pods = kubectl.items("pods", "--selector", selector)
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def streams_of(pods: Iterable[Pod]) -> tuple[list[Stream], list[Silent]]:
    """Return the logs that pods have, and the containers that have none yet."""
    streams: list[Stream] = []
    silent: list[Silent] = []
    for pod in pods:
        role = pod["metadata"].get("labels", {}).get(COMPONENT_LABEL, "pod")
        status = pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        if not containers:
            silent.append(Silent(Stream(role, pod["metadata"]["name"], role), _why_no_container(status)))
        for one in containers:
            stream = Stream(role, pod["metadata"]["name"], one["name"], one.get("restartCount", 0))
            before = one.get("lastState", {}).get("terminated") is not None
            if before:
                streams.append(Stream(stream.role, stream.pod, stream.container, stream.restarts, previous=True))
            waiting = one.get("state", {}).get("waiting")
            if waiting is None:
                streams.append(stream)
            elif not before:
                silent.append(Silent(stream, waiting.get("message") or waiting.get("reason") or "it waits"))
    return streams, silent


def _why_no_container(status: dict[str, Any]) -> str:
    """Return why a pod has no container yet."""
    for one in status.get("conditions", ()):
        if one.get("status") == "False" and one.get("message"):
            return str(one["message"])
    return str(status.get("message") or status.get("reason") or "it has no node yet")


def show(kubectl: Kubectl, pods: Iterable[Pod], tail: int | None, tell: Callable[[str, str], None]) -> None:
    """Give all logs, pod after pod, as ``tell(prefix, line)``."""
    streams, silent = streams_of(pods)
    for one in silent:
        tell(one.stream.prefix, f"has not started: {one.why}")
    with ThreadPoolExecutor(8) as pool:
        for stream, lines in zip(streams, pool.map(lambda one: _read(kubectl, one, tail), streams), strict=True):
            for line in lines:
                tell(stream.prefix, redacted(line))


def _read(kubectl: Kubectl, stream: Stream, tail: int | None) -> list[str]:
    """Return the lines of one log; a pod that has gone meanwhile says so."""
    try:
        lines = kubectl.run(*stream.words(tail, follow=False)).splitlines()
        return [] if stream.previous and lines and lines[0].startswith(_GONE) else lines
    except ClusterError as error:
        return [f"its log cannot be read: {error}"]


@dataclass
class Following:
    """Follows the logs of a scan's pods, of those that come later too, until it is asked to end.

    ``list_pods`` looks for the pods, ``tell(prefix, line)`` is called by one thread at a time.
    """

    kubectl: Kubectl
    list_pods: Callable[[], list[Pod]]
    tell: Callable[[str, str], None]
    tail: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: set[Stream] = field(default_factory=set)
    _said: set[Silent] = field(default_factory=set)
    _open: list[tuple[subprocess.Popen[bytes], threading.Thread]] = field(default_factory=list)

    def run(self, done: Callable[[], bool]) -> None:
        """Follow until ``done()``, and then to the end of the logs."""
        try:
            while True:
                ended = done()
                left = self._look()
                if ended and not left and not self._alive():
                    return
                time.sleep(_LOOK_EVERY)
        finally:
            for process, thread in self._open:
                if process.poll() is None:
                    process.terminate()
                thread.join()
                process.wait()

    def _look(self) -> int:
        """Begin to read what is new; return how many logs wait for room."""
        streams, silent = streams_of(self.list_pods())
        for one in silent:
            if one not in self._said:
                self._said.add(one)
                self._line(one.stream.prefix, f"has not started: {one.why}")
        new = [stream for stream in streams if not stream.previous and stream not in self._known]
        room = max(0, AT_ONCE - self._alive())
        for stream in new[:room]:
            self._known.add(stream)
            self._begin(stream)
        return len(new[room:])

    def _begin(self, stream: Stream) -> None:
        words = stream.words(self.tail, follow=True)
        process = self.kubectl.start(*words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        thread = threading.Thread(target=self._pass_on, args=(stream, process), daemon=True)
        thread.start()
        self._open.append((process, thread))

    def _pass_on(self, stream: Stream, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - pipes
        assert process.stderr is not None  # noqa: S101
        with process.stdout, process.stderr:
            for line in process.stdout:
                self._line(stream.prefix, redacted(line.decode(errors="replace").rstrip("\r\n")))
            said = process.stderr.read().decode(errors="replace")
        if process.wait() > 0:
            self._line(stream.prefix, f"its log cannot be read on: {explained(said, process.returncode)}")

    def _line(self, prefix: str, line: str) -> None:
        with self._lock:
            self.tell(prefix, line)

    def _alive(self) -> int:
        return sum(thread.is_alive() for _, thread in self._open)
