"""What runs in the pod of ``fetch``: ``wait`` keeps the pod there, ``send FOLDER`` writes the folder's files as tar.

It is sent to the pod as text, so that it does not matter which version of us the image holds; hence it needs nothing
but Python's own library, and imports nothing of ours.

The stream is a tar of regular files. Its first member, INDEX, says what will come, its last, DIGESTS, what came: a
stream without it broke off. Members of the results themselves begin with FILES.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import sys
import tarfile
import threading
import time
from typing import BinaryIO

INDEX, FILES, DIGESTS = "index.json", "files/", "digests.json"

#: Without anybody in the pod for so long (s), it ends: who made it was killed, and cannot take it away.
IDLE = 20


def wait() -> None:
    """Stay until nobody has used the pod for a while, or until it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    idle = 0
    while idle < IDLE:
        time.sleep(1)
        others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]  # noqa: PTH208
        idle = 0 if others else idle + 1


class Digesting:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the digest of all that was read."""
        return self._digest.hexdigest()


def listing(folder: str) -> dict[str, object]:
    """Return the folder's files with their sizes, and what is no file and stays: links, pipes and the like.

    Hidden files are results that are being written: they stay too, untold.
    """
    files, left = {}, []
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *(one for one in folders if os.path.islink(os.path.join(path, one)))]):  # noqa: PTH114, PTH118
            if name.startswith("."):
                continue
            full = os.path.join(path, name)  # noqa: PTH118 - names of any bytes
            found = os.lstat(full)
            inside = os.path.relpath(full, folder)
            if stat.S_ISREG(found.st_mode):
                files[inside] = found.st_size
            else:
                left.append(inside)
    return {"there": os.path.isdir(folder), "files": files, "left": left}  # noqa: PTH112


def send(folder: str, out: BinaryIO) -> None:
    """Write the files of a folder as the tar that the module describes."""
    index = listing(folder)
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, INDEX, index)
        files = index["files"]
        assert isinstance(files, dict)  # noqa: S101 - for the type checker
        for name in files:
            try:
                file = os.fdopen(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW), "rb")  # noqa: PTH118
            except OSError as error:  # it went since it was listed, or is not ours to read
                digests[name] = f"{error.strerror}"
                continue
            with file:
                found = os.fstat(file.fileno())
                member = tarfile.TarInfo(FILES + name)
                member.size, member.mtime = found.st_size, int(found.st_mtime)
                digesting = Digesting(file)
                tar.addfile(member, digesting)  # type: ignore[arg-type]
            digests[name] = digesting.hexdigest()
        _add(tar, DIGESTS, digests)


def _add(tar: tarfile.TarFile, name: str, content: object) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def end_with_reader() -> None:
    """End at once when nobody listens any more: the standard input closes with the connection."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "wait":
        wait()
    else:
        end_with_reader()
        send(sys.argv[2], sys.stdout.buffer)
