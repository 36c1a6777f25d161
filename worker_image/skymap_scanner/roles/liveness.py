"""Liveness of a role: a file that is touched as long as the role checks for stop requests.

A process does not touch it if it is frozen, if its interpreter is stuck, or if its role no longer checks for messages.
The liveness probe of the pod then ends the process, and its unacknowledged messages are delivered to another one.
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

#: Environment variable with the path of the file; without it nothing is touched.
VARIABLE = "SKYMAP_ALIVE"

#: Interval between two touches (s).
INTERVAL = 2.0

#: Longest time between two checks for a stop request (s): preparing an event, writing the files of a large map.
LONGEST = 1800.0


def start_heartbeat(
    stop: Stop, environment: Mapping[str, str], longest: float = LONGEST, interval: float = INTERVAL
) -> None:
    """Touch the file regularly, in a thread, as long as the role checks ``stop`` at least every ``longest`` seconds.

    If the file cannot be created, a warning is logged and nothing is touched: a full disk must not end a role.
    """
    if not environment.get(VARIABLE):
        return
    path = Path(environment[VARIABLE])
    try:
        path.touch()
    except OSError as error:
        log.warning("cannot create the liveness file %s: %s", path, error.strerror)
        return
    threading.Thread(target=_beat, args=(path, stop, longest, interval), name="heartbeat", daemon=True).start()


def _beat(path: Path, stop: Stop, longest: float, interval: float) -> None:
    while time.monotonic() - stop.last_checked < longest:
        try:
            os.utime(path)
        except OSError as error:
            log.warning("cannot touch the liveness file %s: %s", path, error.strerror)
            return
        time.sleep(interval)
