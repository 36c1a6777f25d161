"""From the stream of `skymap_scanner.kubectl.fetch_program` to files.

Nothing is written outside the folder, and no file appears under its name before all have come and their digests are
right.

A claim may be written by others: its names and contents are not trusted. Every member must be a regular file with a
relative path without ``..``, which is stricter than tarfile's own filter ``data``; no member is ever extracted by
tarfile, so nothing of its owner, mode or links reaches this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl.fetch_program import DIGESTS, FILES, INDEX

_PIECE = 1 << 20
#: Most files, and the most that index and digests may have (bytes).
MOST_FILES, _LONGEST_JSON = 10_000, 16 << 20
_BROKE_OFF = "the copy broke off before its end; the same command begins again"


@dataclass(frozen=True)
class Unpacked:
    """What came: the files' names relative to the folder; what stayed, as it is no file or could not be read.

    ``there``: whether the folder of the results is there at all.
    """

    there: bool
    files: tuple[str, ...]
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """How much has come: bytes of those announced."""

    done: int
    total: int


def unpack(stream: IO[bytes], folder: Path, limit: int, show: Callable[[Arrival], None]) -> Unpacked:
    """Write the files of a stream into ``folder``, replacing those of the same name; at most ``limit`` bytes.

    Raises
    ------
    ClusterError
        If the stream breaks off, or is not what it should be.
    InputError
        If there is more than wanted, or the folder cannot take it.
    """
    try:
        with _waiting_room(folder) as waiting, tarfile.open(fileobj=stream, mode="r|") as tar:
            return _unpack(tar, folder, waiting, limit, show)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ClusterError(_BROKE_OFF) from error
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise InputError(f"{place}: cannot be written ({error.strerror or error}); is the disk full?") from error


@contextmanager
def _waiting_room(folder: Path) -> Iterator[Path]:
    """Give a folder in ``folder`` where files wait until all have come; what a copy that was killed has left goes.

    Raises
    ------
    InputError
        If another copy goes there at this moment.
    """
    waiting = folder / ".fetch"
    waiting.mkdir(parents=True, exist_ok=True)
    lock = os.open(waiting, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in waiting.iterdir():
            path.unlink()
        try:
            yield waiting
        finally:
            shutil.rmtree(waiting, ignore_errors=True)
    except BlockingIOError as error:
        raise InputError(f"{folder}: another fetch writes there: wait for its end, or choose another folder") from error
    finally:
        os.close(lock)


def _unpack(tar: tarfile.TarFile, folder: Path, waiting: Path, limit: int, show: Callable[[Arrival], None]) -> Unpacked:
    index = _json(tar, tar.next(), INDEX)
    announced: dict[str, int] = index["files"]
    total = sum(announced.values())
    _check_room(folder, total, len(announced), limit)
    found: dict[str, str] = {}
    done = 0

    def came(count: int) -> None:
        show(Arrival(done + count, total))

    while (member := tar.next()) is not None and member.name != DIGESTS:
        name = checked_name(member)
        if name not in announced or name in found:
            raise ClusterError(f"the pod sent {printable(name)}, which it had not announced: nothing is kept")
        if done + member.size > limit:
            raise InputError(_too_much(done + member.size, limit))
        found[name] = _write(tar, member, waiting / str(len(found)), came)
        done += member.size
    digests = _json(tar, member, DIGESTS)
    wrong = [name for name, digest in found.items() if digests.get(name) != digest]
    if wrong:
        raise ClusterError(f"{printable(wrong[0])} is not what was sent (sha256): nothing is kept; try again")
    for number, name in enumerate(found):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (waiting / str(number)).replace(place)
    unreadable = tuple(f"{name} ({digests[name]})" for name in announced if name not in found)
    return Unpacked(bool(index["there"]), tuple(found), (*index["left"], *unreadable))


def checked_name(member: tarfile.TarInfo) -> str:
    """Return the path of a member inside the folder.

    Raises
    ------
    ClusterError
        If it is no regular file, or its path is not plainly inside.
    """
    name = member.name.removeprefix(FILES)
    plain = PurePosixPath(name)
    inside = (
        member.isreg()
        and member.name.startswith(FILES)
        and not plain.is_absolute()
        and str(plain) == name
        and ".." not in plain.parts
        and name not in {"", "."}
        and "\0" not in name
    )
    if not inside:
        raise ClusterError(f"the pod sent {printable(member.name)}, which is no plain file inside the folder")
    return name


def printable(name: str) -> str:
    """Return a name as it can be shown: without what a terminal would obey, or bytes that are no text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def _check_room(folder: Path, total: int, count: int, limit: int) -> None:
    if count > MOST_FILES:
        raise InputError(
            f"there are {count} files, more than the {MOST_FILES} that are fetched: is it the right folder?"
        )
    if total > limit:
        raise InputError(_too_much(total, limit))
    free = shutil.disk_usage(folder).free
    if total > free:
        raise InputError(f"{folder} has room for {free / 1e6:.0f} MB, and the results have {total / 1e6:.0f} MB")


def _too_much(size: int, limit: int) -> str:
    return f"the results have {size / 1e6:.0f} MB, more than the {limit / 1e6:.0f} MB wanted: raise --limit"


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> dict[str, Any]:
    file = None if member is None or member.name != name else tar.extractfile(member)
    if file is None:
        raise ClusterError(_BROKE_OFF)
    content: dict[str, Any] = json.loads(file.read(_LONGEST_JSON))
    return content


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, came: Callable[[int], None]) -> str:
    """Write one file, with the time of the original; return its digest."""
    file = tar.extractfile(member)
    assert file is not None  # noqa: S101 - a regular file, as was checked
    digest, count = hashlib.sha256(), 0
    with path.open("wb") as out:
        while piece := file.read(_PIECE):
            digest.update(piece)
            out.write(piece)
            count += len(piece)
            came(count)
    if count != member.size:
        raise ClusterError(_BROKE_OFF)
    os.utime(path, (member.mtime, member.mtime))
    return digest.hexdigest()
