"""Writing the stream of `skymap_scanner.kubectl.fetch_program` as files.

Nothing is written outside the folder, and no file appears under its name before all have arrived with the right
digests.

Others may write to a claim, and choose the image of the pod, so names, contents and the stream itself are not trusted.
Every member must be a regular file with a relative path without ``..``, which is stricter than tarfile's own filter
``data``. tarfile extracts no member by itself, so owners, modes and links never reach this machine. It reads headers of
any length into memory, so the stream is limited between members.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from skymap_api.text import printable_line
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl.fetch_program import DIGESTS, FILES, INDEX

_PIECE = 1 << 20
#: Most files, and largest index or list of digests (bytes).
MAX_FILES, _MAX_JSON = 10_000, 16 << 20
#: Most bytes of the headers of one member, and of what tarfile reads ahead.
_MAX_HEADERS = 1 << 20
_CUT_SHORT = "the copy was cut short; run the same command again"


@dataclass(frozen=True)
class Unpacked:
    """The copied files, relative to the folder, and those skipped because they are not files or not readable.

    ``exists``: whether the folder of the results exists.
    """

    exists: bool
    files: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transferred:
    """Bytes that have arrived, of those announced."""

    done: int
    total: int


def unpack(stream: IO[bytes], folder: Path, limit: int, show: Callable[[Transferred], None]) -> Unpacked:
    """Write the files of a stream into ``folder``, replacing those of the same name; at most ``limit`` bytes.

    Raises
    ------
    ClusterError
        If the stream is cut short or invalid.
    InputError
        If there are more than ``limit`` bytes, or the folder cannot be written.
    """
    try:
        with _staging_folder(folder) as staging:
            limited = _LimitedStream(stream)
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                return _unpack(_Members(tar, limited), folder, staging, limit, show)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ClusterError(_CUT_SHORT) from error
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise InputError(
            f"{place}: cannot be written ({error.strerror or error}): make room, or choose another folder"
        ) from error


@contextmanager
def _staging_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder in ``folder`` that holds the files until all have arrived; remains of a killed copy are removed.

    Raises
    ------
    InputError
        If another copy uses it at this moment.
    """
    staging = folder / ".fetch"
    staging.mkdir(parents=True, exist_ok=True)
    lock = os.open(staging, os.O_RDONLY)
    try:
        _lock(lock)
        for path in staging.iterdir():
            path.unlink()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except BlockingIOError as error:
        raise InputError(f"{folder}: another fetch writes there: wait for it, or choose another folder") from error
    finally:
        os.close(lock)


class _LimitedStream(io.BufferedIOBase):
    """A stream of which only as many bytes are read as were allowed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = _MAX_HEADERS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; raises ClusterError when they are more than allowed."""
        data = self._stream.read(-1 if size is None else size)
        self.left -= len(data)
        if self.left < 0:
            raise ClusterError(f"the pod sent more than {_MAX_HEADERS} bytes beside the files: nothing is kept")
        return data


class _Members:
    """The members of the stream, one after the other."""

    def __init__(self, tar: tarfile.TarFile, stream: _LimitedStream) -> None:
        self._tar = tar
        self._stream = stream

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member; None at the end."""
        self._stream.left = _MAX_HEADERS
        return self._tar.next()

    def open(self, member: tarfile.TarInfo) -> IO[bytes] | None:
        """Return the content of the last member; None if it is not a file."""
        self._stream.left = member.size + _MAX_HEADERS
        return self._tar.extractfile(member) if member.isreg() else None

    def read(self, member: tarfile.TarInfo | None, name: str) -> dict[str, Any]:
        """Return the content of the index or the digests; raises ClusterError if it is anything else."""
        if member is None or member.name != name:
            raise ClusterError(_CUT_SHORT)
        if member.size > _MAX_JSON or (file := self.open(member)) is None:
            raise _invalid(name)
        data = file.read()
        if len(data) != member.size:
            raise ClusterError(_CUT_SHORT)
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _invalid(name) from error
        if not isinstance(content, dict):
            raise _invalid(name)
        return content


def _invalid(name: str) -> ClusterError:
    return ClusterError(f"the pod sent an invalid {name}: give --image of a scanner of this version")


def _checked_index(index: dict[str, Any]) -> tuple[bool, dict[str, int], list[str]]:
    """Check the index; return whether the folder exists, the sizes of its files, and the names that are skipped.

    Raises ClusterError. Not by pydantic, which accepts no names that are not UTF-8.
    """
    match index:
        case {"exists": bool(exists), "files": dict(files), "skipped": list(skipped)}:
            sizes_valid = all(type(size) is int and size >= 0 for size in files.values())
            if sizes_valid and all(isinstance(name, str) for name in skipped):
                return exists, files, skipped
    raise _invalid(INDEX)


def _lock(descriptor: int) -> None:
    """Lock a folder; raises BlockingIOError if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a network file system without locks, where nothing keeps two copies apart
        return


def _unpack(
    members: _Members, folder: Path, staging: Path, limit: int, show: Callable[[Transferred], None]
) -> Unpacked:
    exists, announced, skipped = _checked_index(members.read(members.next(), INDEX))
    total = sum(announced.values())
    _check_room(folder, total, len(announced), limit)
    found: dict[str, str] = {}
    done = 0

    def report(count: int) -> None:
        show(Transferred(done + count, total))

    while (member := members.next()) is not None and member.name != DIGESTS:
        name = checked_name(member)
        if name not in announced or name in found:
            raise ClusterError(f"the pod sent {printable_line(name)}, which it had not announced: nothing is kept")
        if done + member.size > limit:
            raise InputError(_too_much(done + member.size, limit))
        found[name] = _write(members, member, staging / str(len(found)), report)
        done += member.size
    digests = members.read(member, DIGESTS)
    wrong = [name for name, digest in found.items() if digests.get(name) != digest]
    if wrong:
        raise ClusterError(f"{printable_line(wrong[0])} arrived damaged (sha256); nothing is kept: try again")
    for number, name in enumerate(found):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (staging / str(number)).replace(place)
    unreadable = tuple(
        f"{name} ({str(digests.get(name, 'not sent'))[:200]})" for name in announced if name not in found
    )
    return Unpacked(exists, tuple(found), (*skipped, *unreadable))


def checked_name(member: tarfile.TarInfo) -> str:
    """Return the path of a member inside the folder.

    Raises
    ------
    ClusterError
        If it is not a regular file, or its path may lead outside.
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
        raise ClusterError(
            f"the pod sent {printable_line(member.name)}, which is not a regular file in the folder: nothing is kept"
        )
    return name


def _check_room(folder: Path, total: int, count: int, limit: int) -> None:
    if count > MAX_FILES:
        raise InputError(
            f"there are {count} files, and at most {MAX_FILES} are fetched: check the folder, or give --path"
        )
    if total > limit:
        raise InputError(_too_much(total, limit))
    free = shutil.disk_usage(folder).free
    if total > free:
        raise InputError(
            f"{folder} has room for {free / 1e6:.0f} MB, but the results have {total / 1e6:.0f} MB: make room, or "
            "choose another folder"
        )


def _too_much(size: int, limit: int) -> str:
    return f"the results have {size / 1e6:.0f} MB, more than the limit of {limit / 1e6:.0f} MB: raise --limit"


def _write(members: _Members, member: tarfile.TarInfo, path: Path, report: Callable[[int], None]) -> str:
    """Write one file with the modification time of the original; return its digest."""
    file = members.open(member)
    assert file is not None  # noqa: S101 - checked to be a regular file
    digest, count = hashlib.sha256(), 0
    with path.open("wb") as out:
        while piece := file.read(_PIECE):
            digest.update(piece)
            out.write(piece)
            count += len(piece)
            report(count)
    if count != member.size:
        raise ClusterError(_CUT_SHORT)
    os.utime(path, (member.mtime, member.mtime))
    return digest.hexdigest()
