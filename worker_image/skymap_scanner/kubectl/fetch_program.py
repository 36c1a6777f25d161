"""The program of the pod of ``fetch``: ``wait`` keeps the pod alive, ``send FOLDER`` writes the folder's files as tar.

``fetch`` sends this source to the pod, so that it works with any version of the image. Therefore it imports only
Python's standard library.

The stream is a tar of regular files. The first member, INDEX, lists the files to come, the last, DIGESTS, holds their
SHA-256: a stream without it was cut short. The names of the results' members begin with FILES.
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

#: The pod ends after this time (s) without another process in it: ``fetch`` was killed and cannot delete it.
IDLE_TIMEOUT = 20


def wait() -> None:
    """Return once the pod has been idle for a while; SIGTERM ends the process at once."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    idle = 0
    while idle < IDLE_TIMEOUT:
        time.sleep(1)
        others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]  # noqa: PTH208
        idle = 0 if others else idle + 1


class Digesting:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the digest of all bytes read so far."""
        return self._digest.hexdigest()


def index_folder(folder: str) -> dict[str, object]:
    """Return whether the folder exists, its regular files with their sizes, and the skipped links, pipes and the like.

    Hidden files are results that are still being written: they are left out altogether.
    """
    files, skipped = {}, []
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
                skipped.append(inside)
    return {"exists": os.path.isdir(folder), "files": files, "skipped": skipped}  # noqa: PTH112


def send(folder: str, out: BinaryIO) -> None:
    """Write the files of a folder as the tar that the module describes."""
    index = index_folder(folder)
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, INDEX, index)
        files = index["files"]
        assert isinstance(files, dict)  # noqa: S101 - for the type checker
        for name in files:
            try:
                file = os.fdopen(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW), "rb")  # noqa: PTH118
            except OSError as error:  # deleted since it was listed, or not readable for us
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


def exit_with_connection() -> None:
    """End the process when its standard input closes, as it does with the connection."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "wait":
        wait()
    else:
        exit_with_connection()
        send(sys.argv[2], sys.stdout.buffer)
