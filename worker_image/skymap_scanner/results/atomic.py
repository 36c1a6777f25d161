"""Whole files or none: what a reader finds under a name is always complete."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

from skymap_scanner.errors import InputError


def write_atomically(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path`` and rename it there, so that a crash leaves the old file or the new one.

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            # mkstemp makes files for their owner alone; a result is for everyone whom the umask allows.
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):  # of one who was killed at it
            left.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from error
    finally:
        Path(temporary).unlink(missing_ok=True)  # after the renaming there is none
    return path
