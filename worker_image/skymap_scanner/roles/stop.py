"""Stop requests to a role: SIGTERM, SIGINT, or the end of the parent process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from skymap_api.exit_codes import ExitCode


class Stop:
    """A request to stop. A role checks ``requested`` between two messages, never while it handles one.

    ``exit_code``: exit code of a process that was stopped before its part was done: 128 + the number of the signal, as
    shells and container runtimes report. ``last_checked``: time of the last check (s, monotonic), for the liveness.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = int(ExitCode.TERMINATED)
        self.last_checked = time.monotonic()

    @property
    def requested(self) -> bool:
        """Whether the role should stop now."""
        self.last_checked = time.monotonic()
        return self._event.is_set()

    def request(self) -> None:
        """Request a stop."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once on a request; return whether there was one."""
        return self._event.wait(seconds)

    def on_signals(self, *, with_parent: bool = False) -> Stop:
        """Handle SIGTERM and SIGINT as a request; a second signal ends the process.

        ``with_parent``: also end the process at the end of its parent.
        """

        def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
            self.exit_code = 128 + number
            self.request()
            signal.signal(number, signal.SIG_DFL)

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
        if with_parent:
            _end_with_parent()
        return self


def _end_with_parent() -> None:
    """End this process when its standard input closes: its parent has ended, perhaps by ``kill -9``.

    Ending at any point is safe, since nothing is acknowledged before its consequences are stored.
    """

    def watch() -> None:
        while os.read(standard_input, 1):
            pass
        os._exit(ExitCode.TERMINATED)

    standard_input = sys.stdin.fileno()  # unbuffered: this thread would keep the lock of the buffer at exit

    threading.Thread(target=watch, name="parent", daemon=True).start()
