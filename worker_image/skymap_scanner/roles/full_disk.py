"""Waiting while the disk is full: somebody will free some space, and the write is then repeated."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TypeVar

from skymap_scanner.errors import InputError
from skymap_scanner.roles.stop import Stop

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Pause between two attempts (s).
PAUSE = 10.0

_FULL = {errno.ENOSPC, errno.EDQUOT}


def retry_while_disk_full(write: Callable[[], T], stop: Stop, pause: float = PAUSE) -> T | None:
    """Call ``write`` until the disk is not full and return its result; None if a stop was requested first.

    Any other error that ``write`` raises is passed on.
    """
    while not stop.requested:
        try:
            return write()
        except (OSError, InputError) as error:
            if not is_disk_full(error):
                raise
            log.warning("the disk is full: %s; free some space (retrying every %g s)", error, pause)
        stop.wait(pause)
    return None


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, is a full disk or an exceeded quota."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
