"""A sign of life for whoever looks after a role's process: a file that is touched for as long as the role goes on.

A process that is frozen, whose interpreter is stuck, or whose role looks for messages no more, does not touch it: then
it is for others to end it (in a pod, the liveness probe), and what it had in hand goes to its successor.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from skymap_scanner.roles.stop import Stop

log = logging.getLogger(__name__)

#: Environment variable with the file's name; without it there is no sign of life.
VARIABLE = "SKYMAP_ALIVE"

#: Between two touches (s).
EVERY = 2.0

#: A role may be at one thing for so long (s): preparing an event, writing the files of a large map.
LONGEST = 1800.0


def start_heartbeat(stop: Stop, environment: Mapping[str, str], longest: float = LONGEST, every: float = EVERY) -> None:
    """Touch the file now and then, from a thread, while the role looks at ``stop`` at least every ``longest`` seconds.

    Where the file cannot be made the log says so, and there is no sign of life: a full disk is no reason to end a role.
    """
    if not environment.get(VARIABLE):
        return
    path = Path(environment[VARIABLE])
    try:
        path.touch()
    except OSError as error:
        log.warning("no sign of life: %s: %s", path, error.strerror)
        return
    threading.Thread(target=_beat, args=(path, stop, longest, every), name="alive", daemon=True).start()


def _beat(path: Path, stop: Stop, longest: float, every: float) -> None:
    while time.monotonic() - stop.looked < longest:
        try:
            os.utime(path)
        except OSError as error:
            log.warning("no sign of life any more: %s: %s", path, error.strerror)
            return
        time.sleep(every)
