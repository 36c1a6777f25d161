"""How a role is asked to stop: SIGTERM or SIGINT, or the end of the process that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from skymap_api.exit_codes import ExitCode


class Stop:
    """A request to stop. A role looks at ``requested`` between two messages, never in the middle of one.

    ``exit_code``: how a process ends that was stopped before its part was done, 128 + the number of the signal, as
    shells and container runtimes tell it of one that the signal has ended. ``looked``: when the role last looked here
    (s, monotonic), by which others see that it goes on.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = int(ExitCode.TERMINATED)
        self.looked = time.monotonic()

    @property
    def requested(self) -> bool:
        """Whether the role should end now."""
        self.looked = time.monotonic()
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the end."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once on a request; tells whether there was one."""
        return self._event.wait(seconds)

    def on_signals(self, *, with_parent: bool = False) -> Stop:
        """Take SIGTERM and SIGINT as a request; a second signal ends the process as usual.

        ``with_parent``: also end when the process that started this one does.
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
    """End this process at once when its standard input closes: the process that started it is gone, kill -9 included.

    At once is safe, since nothing is acknowledged before what follows from it is stored.
    """

    def watch() -> None:
        while os.read(standard_input, 1):
            pass
        os._exit(ExitCode.TERMINATED)

    standard_input = sys.stdin.fileno()  # read without Python's buffer, whose lock this thread would keep at the end

    threading.Thread(target=watch, name="parent", daemon=True).start()
