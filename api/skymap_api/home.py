"""A home folder for processes that have none: neither the variable HOME nor an entry in the user database.

Batch systems and containers start such processes. Libraries (astropy, Kubernetes' client) look for the home when they
are imported, and fail without one.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

#: The home of last resort, as container engines have it: it exists, and what cannot be written there is explained.
ROOT = Path("/")


def ensure_home() -> None:
    """Set HOME for this process and its children, unless there is a home."""
    try:
        Path.home()
    except RuntimeError:
        try:
            os.environ["HOME"] = str(private_folder())
        except OSError:
            os.environ["HOME"] = str(ROOT)


def private_folder() -> Path:
    """Make and return the folder for temporary files that is this user's alone: what lies there can be trusted.

    Raises OSError if nothing can be written there, or what has its name is not a folder of this user alone.
    """
    folder = Path(tempfile.gettempdir(), f"skymap-scanner-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(errno.EPERM, "belongs to another user, or is a link", str(folder))
    if found.st_mode & 0o077:
        raise OSError(errno.EPERM, "other users may use it (chmod 700 ends that)", str(folder))
    return folder
