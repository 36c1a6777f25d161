"""A full disk passes: somebody makes room. Until then who writes waits, and begins again."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TypeVar

from skymap_scanner.errors import InputError
from skymap_scanner.roles.stop import Stop

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Between two tries (s).
PAUSE = 10.0

_FULL = {errno.ENOSPC, errno.EDQUOT}


def retry_while_disk_full(write: Callable[[], T], stop: Stop, pause: float = PAUSE) -> T | None:
    """Return what ``write`` returns, which is called again while the disk is full; None when asked to stop before.

    Raises
    ------
    OSError, InputError
        What ``write`` raises of anything but a full disk.
    """
    while not stop.requested:
        try:
            return write()
        except (OSError, InputError) as error:
            if not is_disk_full(error):
                raise
            log.warning("the disk is full: %s; make room, it is tried again every %g s", error, pause)
        stop.wait(pause)
    return None


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or the one that it explains, is that of a full disk or quota."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
