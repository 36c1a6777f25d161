"""The fork server of ``run``: one process that imports what the roles need, and forks them.

    run ─▶ requests (a line of JSON each) ─▶ fork server ─fork─▶ roles;    fork server ─▶ exit codes ─▶ run

Each role would take half a second to import it all, and together they have two cores. What one role has imported, the
next ones have too, in the same memory.

The standard input of the roles is a pipe that `run` holds open: however it ends, they see the end of the file and end.
The fork server ends when its requests do.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from skymap_api.exit_codes import ExitCode
from skymap_scanner.roles.local.local_role import PACKAGE, STARTED_BY, child_environment

#: What the roles import, in the order in which they start. Packages that healpy imports are listed before it: between
#: two imports the server looks for requests.
IMPORTS = {
    "worker": (
        "skymap_scanner.cli.worker",
        "skymap_scanner.roles.worker.worker",
        "skymap_scanner.broker.sqlite",
        "skymap_scanner.reconstruction.millipede.set_up",
    ),
    "producer": (
        "skymap_scanner.cli.producer",
        "skymap_scanner.roles.producer.producer",
        "astropy.io.fits",
        "astropy.coordinates",
        "matplotlib.axes",
        "healpy",
    ),
    "collector": ("skymap_scanner.cli.collector", "skymap_scanner.roles.collector.collector"),
    "saver": ("skymap_scanner.cli.saver", "skymap_scanner.roles.saver.saver"),
}

log = logging.getLogger(__name__)

#: Time for the roles of a fork server to end after it (s).
END_TIMEOUT = 10.0

#: How often a waiting `run` looks whether the fork server still runs (s).
POLL_INTERVAL = 0.1


class ForkedRole:
    """The process of a role; as `subprocess.Popen`."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server = server
        self._number = number

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        return self._server.exit_code(self._number)

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self._server.exit_code(self._number, min(timeout, POLL_INTERVAL))) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("role", timeout)
        return code

    def terminate(self) -> None:
        """Send SIGTERM, unless the process has ended."""
        self._server.request({"signal": int(signal.SIGTERM), "of": self._number})

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self._server.request({"signal": int(signal.SIGKILL), "of": self._number})


class ForkServer:
    """Starts roles. If the server is killed, its roles end, and the next role starts another one.

    Every role holds the end of the pipe through which the server replies, so that its end of file means that all of
    them are gone.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = self._replies = -1
        self._running: set[int] = set()
        self._codes: dict[int, int] = {}
        self._started = 0
        self._partial = b""

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def start(self, name: str, words: Sequence[str], log_file: Path) -> ForkedRole:
        """Fork a role with this command line, whose first word is the role; its output is appended to ``log_file``."""
        self._receive(0.0)
        if self._process is None:
            self._open()
        self._started += 1
        self._running.add(self._started)
        number = self._started
        self.request({"start": number, "name": name, "words": list(words), "log": str(log_file)})
        return ForkedRole(self, number)

    def exit_code(self, number: int, timeout: float = 0.0) -> int | None:
        """Return the exit code of a role; wait up to ``timeout`` seconds for news if it still runs."""
        if number not in self._codes:
            self._receive(timeout)
        return self._codes.get(number)

    def request(self, request: dict[str, Any]) -> None:
        """Send a request, unless the server has ended."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()

    def _open(self) -> None:
        standard_input, self._lifeline = os.pipe()
        self._replies, replies = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", __name__, str(standard_input), str(replies)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # what an import prints
                pass_fds=[standard_input, replies],
                env=child_environment() | {STARTED_BY: str(PACKAGE)},
            )
        finally:
            os.close(standard_input)
            os.close(replies)

    def _receive(self, timeout: float) -> None:
        """Take note of the roles that have ended; wait up to ``timeout`` seconds for one."""
        if self._process is None:
            return
        while select.select([self._replies], [], [], timeout)[0]:
            timeout = 0.0
            received = os.read(self._replies, 1 << 16)
            if not received:
                break
            *lines, self._partial = (self._partial + received).split(b"\n")
            for line in lines:
                reply = json.loads(line)
                self._running.discard(reply["ended"])
                self._codes[reply["ended"]] = reply["code"]
        code = self._process.poll()
        if code is not None:
            self._close()
            # their own codes are not known
            self._codes.update(dict.fromkeys(self._running, code or int(ExitCode.INTERNAL_ERROR)))
            self._running.clear()

    def _close(self) -> None:
        """End the server and the roles that it has left."""
        if self._process is None:
            return
        os.close(self._lifeline)
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + END_TIMEOUT
        while select.select([self._replies], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            if not os.read(self._replies, 1 << 16):
                break
        else:
            log.warning("a role does not end, %g s after its fork server", END_TIMEOUT)
        os.close(self._replies)
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process, self._partial = None, b""


def serve(role_input: int, replies: int) -> None:
    """Fork the roles that are requested on the standard input, until it ends.

    ``role_input`` and ``replies`` are file descriptors: of the roles' standard input, and of where their exit codes go.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # `run` and the roles get it too, and decide
    gc.disable()  # modules live until the process ends
    running: dict[int, int] = {}
    ahead = [module for modules in IMPORTS.values() for module in modules]
    for event in _events(ahead):
        if event is None:
            _report_ended(running, replies)
        elif "start" not in event:
            for process, number in running.items():
                if number == event["of"]:
                    os.kill(process, event["signal"])
        else:
            for module in IMPORTS[event["words"][0]]:
                _import(module)
            gc.freeze()
            process = os.fork()
            if process == 0:
                _become(event, role_input)
            running[process] = event["start"]


def _import(module: str) -> None:
    """Import a module; a role that needs it imports it again, and reports what is wrong."""
    with suppress(Exception):
        importlib.import_module(module)


def _events(ahead: Sequence[str]) -> Iterator[dict[str, Any] | None]:
    """Yield the requests as they come, and None whenever a process may have ended; meanwhile import ``ahead``."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler it would not write to `wakes`
    signal.set_wakeup_fd(wakes)
    partial, modules = b"", deque(ahead)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(0 if modules else None):
                received = os.read(key.fd, 1 << 16)
                if key.fd == woken:
                    yield None
                elif received:
                    *lines, partial = (partial + received).split(b"\n")
                    yield from map(json.loads, lines)
                else:
                    return
            if modules:
                _import(modules.popleft())


def _report_ended(running: dict[int, int], replies: int) -> None:
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        reply = {"ended": running.pop(process), "code": os.waitstatus_to_exitcode(status)}
        os.write(replies, json.dumps(reply).encode() + b"\n")


def _become(request: dict[str, Any], role_input: int) -> NoReturn:
    """Be the role: with its own streams and name, and Python's own signal handlers."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    output = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for source, target in ((role_input, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(role_input)
    with suppress(OSError):  # Linux; the name is for people who look at processes
        Path("/proc/self/comm").write_text(request["name"])
    from skymap_scanner.cli import main

    sys.argv = ["skymap-scanner", *request["words"]]
    main()
    raise SystemExit(ExitCode.DONE)


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
