"""A disk that may lose what was not synced: from the changes of a run, what a power cut may leave after each of them.

As POSIX states it, and stricter than any one file system: what is written to a file survives after an ``fsync`` of the
file, and a name (created, renamed, removed) after an ``fsync`` of its folder. Until then each sector of a write, each
new length and each change of a name may have reached the disk or not, in any order. Only one change of a name, such as
a rename, is atomic.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

#: What a disk writes whole (bytes).
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Created:
    """A file got its first name."""

    path: str
    inode: int


@dataclass(frozen=True, slots=True)
class FolderMade:
    path: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A file or an empty folder lost its name."""

    path: str


@dataclass(frozen=True, slots=True)
class Renamed:
    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Written:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class FileSynced:
    inode: int


@dataclass(frozen=True, slots=True)
class FolderSynced:
    path: str


Change = Created | FolderMade | Removed | Renamed | Written | Resized | FileSynced | FolderSynced

#: Decides for each change that is not synced whether it has reached the disk: of a name, or of a file's content.
Fate = Callable[[], bool]


@dataclass(frozen=True)
class Cut:
    """What happens to the changes that were not synced when the power fails."""

    name: str
    names: Fate
    content: Fate


def kept() -> bool:
    return True


def lost() -> bool:
    return False


def torn(seed: int) -> Cut:
    """Keep a random part of the changes of names, and a random part of the sectors; the parts are random, too."""
    chance = random.Random(seed)
    names, content = chance.choice((0.1, 0.5, 0.9)), chance.choice((0.1, 0.5, 0.9))
    return Cut(f"torn {seed}", lambda: chance.random() < names, lambda: chance.random() < content)


def cuts(seed: int) -> list[Cut]:
    """Return the ways in which a power cut treats what was not synced."""
    return [
        Cut("all is kept", kept, kept),
        Cut("all is lost", lost, lost),
        Cut("names are kept", kept, lost),
        Cut("content is kept", lost, kept),
        torn(seed),
    ]


@dataclass(frozen=True)
class Found:
    """A file that was there before the first change; without ``data`` a folder."""

    inode: int
    data: bytes | None


def found(folder: Path) -> dict[str, Found]:
    """Return what is below a folder, by path relative to it."""
    return {
        str(path.relative_to(folder)): Found(path.stat().st_ino, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


@dataclass
class File:
    """The content that is on the disk for sure, and the changes that may be there."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Written | Resized] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.synced, change)
        self.pending.clear()

    def after(self, cut: Cut) -> bytes:
        content = bytearray(self.synced)
        for change in self.pending:
            for piece in _pieces(change):
                if cut.content():
                    _apply(content, piece)
        return bytes(content)


def _pieces(change: Written | Resized) -> Iterator[Written | Resized]:
    """Split a write into its sectors."""
    if isinstance(change, Resized):
        yield change
        return
    begin, last = change.offset, change.offset + len(change.data)
    while begin < last:
        end = min(begin - begin % SECTOR + SECTOR, last)
        yield Written(change.inode, begin, change.data[begin - change.offset : end - change.offset])
        begin = end


def _apply(content: bytearray, change: Written | Resized) -> None:
    if isinstance(change, Resized):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(change.offset - len(content), 0)))  # a hole reads as zeros
    content[change.offset : change.offset + len(change.data)] = change.data


#: What a name stands for: a file, or a folder (None).
Entry = File | None


@dataclass(frozen=True, slots=True)
class NameChange:
    """One atomic change of names: ``removed`` disappears, ``added`` stands for ``entry``."""

    removed: str | None
    added: str | None
    entry: Entry = None

    @property
    def folders(self) -> set[str]:
        return {str(PurePosixPath(path).parent) for path in (self.removed, self.added) if path is not None}

    def apply(self, names: dict[str, Entry]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None:
            names[self.added] = self.entry


class Disk:
    """The disk under one folder. ``content``, by path, was there and synced before the first change."""

    def __init__(self, content: Mapping[str, Found] | None = None) -> None:
        self._files = {one.inode: File(bytearray(one.data)) for one in (content or {}).values() if one.data is not None}
        self._names: dict[str, Entry] = {path: self._files.get(one.inode) for path, one in (content or {}).items()}
        self._synced_names = dict(self._names)
        self._pending: list[NameChange] = []

    def apply(self, change: Change) -> None:
        """Make one change; raises ValueError if it does not fit those before, or renames a folder."""
        match change:
            case Created(path, inode):
                self._files[inode] = File()
                self._change_name(NameChange(None, path, self._files[inode]))
            case FolderMade(path):
                self._change_name(NameChange(None, path))
            case Removed(path):
                self._existing(path)
                self._change_name(NameChange(path, None))
            case Renamed(path, to):
                file = self._existing(path)
                if file is None:
                    raise ValueError(f"{path}: a folder was renamed, which this model does not follow")
                self._change_name(NameChange(path, to, file))
            case Written(inode) | Resized(inode):
                self._files[inode].pending.append(change)
            case FileSynced(inode):
                self._files[inode].sync()
            case FolderSynced(path):
                self._sync_names(path)

    @property
    def names(self) -> KeysView[str]:
        """The paths that exist while the power is on."""
        return self._names.keys()

    def after(self, cut: Cut) -> dict[str, bytes | None]:
        """Return what the folder holds after a power cut now: the content of each file, None for a folder."""
        names = dict(self._synced_names)
        for change in self._pending:
            if cut.names():
                change.apply(names)
        folders = {path for path, entry in names.items() if entry is None} | {"."}
        return {
            path: None if entry is None else entry.after(cut)
            for path, entry in sorted(names.items())
            if {str(parent) for parent in PurePosixPath(path).parents} <= folders
        }

    def _existing(self, path: str) -> Entry:
        if path not in self._names:
            raise ValueError(f"{path}: changed, but it was never made")
        return self._names[path]

    def _change_name(self, change: NameChange) -> None:
        change.apply(self._names)
        self._pending.append(change)

    def _sync_names(self, folder: str) -> None:
        for change in self._pending:
            if folder in change.folders:
                change.apply(self._synced_names)
        self._pending = [change for change in self._pending if folder not in change.folders]


def lay_out(content: Mapping[str, bytes | None], folder: Path) -> None:
    """Let a folder hold what a power cut has left, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, data in content.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
