"""Files that somebody else wrote, read up to a limit."""

from __future__ import annotations

import errno
from typing import BinaryIO


def read_limited(stream: BinaryIO, limit: int) -> bytes:
    """Return what a stream holds; raises OSError if that is more than ``limit`` bytes."""
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than the {limit} bytes allowed")
    return content
