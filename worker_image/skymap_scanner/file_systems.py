"""Which file system a path is on, and whether SQLite may be used there by several processes.

SQLite's write-ahead log needs memory that all processes share, so it "does not work over a network filesystem"
(https://sqlite.org/wal.html). A rollback journal would need none, but the locks of network file systems are not
reliable, and SQLite advises against files there that several processes use (https://sqlite.org/faq.html#q5).
"""

from __future__ import annotations

import re
from pathlib import Path

from skymap_scanner.errors import InputError

#: Types in Linux's table of mounts whose files other machines may use, or whose locks are those of a server.
NETWORK_TYPES = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "afs",
        "panfs",
        "pvfs2",
        "orangefs",
        "wekafs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    )
)

#: The mounts of this process; see proc_pid_mountinfo(5). Other systems than Linux have no such file.
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_local(path: Path) -> None:
    """Check that SQLite's files at ``path`` would not be on a network file system.

    Raises InputError if they would be. Where the file systems are not known, everything is accepted.
    """
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return
    kind = type_of(path.resolve(), mounts)
    if kind in NETWORK_TYPES:
        raise InputError(
            f"{path}: is on a network file system ({kind}), where SQLite's files are damaged when several "
            "processes use them: choose a folder on a local disk, or keep only the broker there, as with --broker "
            "sqlite:////tmp/scan.sqlite"
        )


def type_of(path: Path, mounts: str) -> str | None:
    """Return the type of the file system that holds an absolute path without links; None if no mount holds it.

    ``mounts``: the text of ``/proc/self/mountinfo``. Of several mounts at one place the last one is seen.
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or not kinds[0]:
            continue
        place = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(place.parts)
        if path.is_relative_to(place) and (found is None or depth >= found[0]):
            found = depth, kinds[0]
    return None if found is None else found[1]
