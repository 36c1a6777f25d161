"""Writing the stream of `skymap_scanner.kubectl.fetch_program` as files.

Nothing is written outside the folder, and no file appears under its name before all have arrived with the right
digests.

Others may write to a claim, so names and contents are not trusted. Every member must be a regular file with a relative
path without ``..``, which is stricter than tarfile's own filter ``data``. tarfile extracts no member by itself, so
owners, modes and links never reach this machine.
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

from skymap_api.text import printable_line
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl.fetch_program import DIGESTS, FILES, INDEX

_PIECE = 1 << 20
#: Most files, and largest index or list of digests (bytes).
MAX_FILES, _MAX_JSON = 10_000, 16 << 20
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
        with _staging_folder(folder) as staging, tarfile.open(fileobj=stream, mode="r|") as tar:
            return _unpack(tar, folder, staging, limit, show)
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
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def _unpack(
    tar: tarfile.TarFile, folder: Path, staging: Path, limit: int, show: Callable[[Transferred], None]
) -> Unpacked:
    index = _json(tar, tar.next(), INDEX)
    announced: dict[str, int] = index["files"]
    total = sum(announced.values())
    _check_room(folder, total, len(announced), limit)
    found: dict[str, str] = {}
    done = 0

    def report(count: int) -> None:
        show(Transferred(done + count, total))

    while (member := tar.next()) is not None and member.name != DIGESTS:
        name = checked_name(member)
        if name not in announced or name in found:
            raise ClusterError(f"the pod sent {printable_line(name)}, which it had not announced: nothing is kept")
        if done + member.size > limit:
            raise InputError(_too_much(done + member.size, limit))
        found[name] = _write(tar, member, staging / str(len(found)), report)
        done += member.size
    digests = _json(tar, member, DIGESTS)
    wrong = [name for name, digest in found.items() if digests.get(name) != digest]
    if wrong:
        raise ClusterError(f"{printable_line(wrong[0])} arrived damaged (sha256); nothing is kept: try again")
    for number, name in enumerate(found):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (staging / str(number)).replace(place)
    unreadable = tuple(f"{name} ({digests[name]})" for name in announced if name not in found)
    return Unpacked(bool(index["exists"]), tuple(found), (*index["skipped"], *unreadable))


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


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> dict[str, Any]:
    file = None if member is None or member.name != name else tar.extractfile(member)
    if file is None:
        raise ClusterError(_CUT_SHORT)
    content: dict[str, Any] = json.loads(file.read(_MAX_JSON))
    return content


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, report: Callable[[int], None]) -> str:
    """Write one file with the modification time of the original; return its digest."""
    file = tar.extractfile(member)
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
