"""A home folder for processes that have none: neither the variable HOME nor an entry in the user database.

Batch systems and containers start such processes. Libraries (astropy, Kubernetes' client) look for the home when they
are imported, and fail without one.
"""

from __future__ import annotations

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
        os.environ["HOME"] = str(_private_folder())


def _private_folder() -> Path:
    """Return a folder for temporary files that is this user's alone: compiled code is loaded from there."""
    try:
        folder = Path(tempfile.gettempdir(), f"skymap-scanner-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:  # nothing can be written, or a file has that name
        return ROOT
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if own else ROOT
