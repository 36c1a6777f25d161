"""The outbox: a file beside the results with every notice of this folder, its destinations, and whether it is sent.

A notice is written here before its first attempt, each attempt is counted before it is made, and the outcome is written
afterwards. So a crash loses no notice, and one that may have been sent is sent again with the same bytes and key.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skymap_api.limited_file import read_limited
from skymap_api.validation_errors import describe_errors
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import InputError
from skymap_scanner.notices.documents import DOCUMENTS
from skymap_scanner.notices.notice import Notice

log = logging.getLogger(__name__)

#: Name of the file, in the folder of the results.
FILE = "notices.json"
#: Size (bytes) and number of entries beyond which nothing is added.
MAX_BYTES, MAX_ENTRIES = 2**24, 1000
#: Largest outbox that is read (bytes): the marks of what was added always fit.
MAX_READ = 2 * MAX_BYTES


class Entry(BaseModel):
    """One notice to one destination."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    destination: str
    """Label of the destination."""
    key: str
    """Idempotency key of the notice."""
    document: str
    """The exact text that is sent."""
    notice: Notice
    """The notice."""
    state: Literal["pending", "sent", "failed"] = "pending"
    """``failed``: the destination rejected it."""
    attempts: int = 0
    """Number of attempts that have begun."""
    sent: str | None = None
    """When the destination accepted it (UTC)."""
    error: str | None = None
    """Why the last attempt failed."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    entries: list[Entry] = Field(default_factory=list, max_length=MAX_ENTRIES)


class Outbox:
    """The notices of a folder; all methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._entries = _read(self._path)

    @property
    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._lock:
            return list(self._entries)

    def notices(self, event_id: str) -> list[Notice]:
        """Return the notices of an event, oldest first."""
        found = {entry.key: entry.notice for entry in self.entries}
        return [notice for notice in found.values() if notice.event_id == event_id]

    def add(self, notice: Notice, destinations: Mapping[str, str]) -> list[Entry]:
        """Add a notice for destinations (label to kind), and return the entries that are to be sent now.

        A destination gets each notice once, but an entry that it rejected becomes pending again.
        """
        with self._lock:
            entries = list(self._entries)
            had = {one.destination: place for place, one in enumerate(entries) if one.key == notice.key}
            wanted = []
            for label, kind in destinations.items():
                place = had.get(label)
                if place is None:
                    entries.append(
                        Entry(destination=label, key=notice.key, document=DOCUMENTS[kind](notice), notice=notice)
                    )
                    wanted.append(entries[-1])
                elif entries[place].state == "failed":
                    entries[place] = entries[place].model_copy(update={"state": "pending"})
                    wanted.append(entries[place])
            if len(entries) > MAX_ENTRIES or len(_to_bytes(entries)) > MAX_BYTES:
                raise InputError(f"{self._path} would hold more than {MAX_ENTRIES} notices or 16 MiB: move it away")
            if wanted:
                self._write(entries)
            return wanted

    def retry_failed(self, destinations: Iterable[str]) -> None:
        """Mark failed entries as pending, unless a later notice of the event was sent or a retraction follows."""
        with self._lock:
            entries = list(self._entries)
            for place, one in enumerate(entries):
                same = (one.destination, one.notice.event_id)
                later = [two for two in entries[place + 1 :] if (two.destination, two.notice.event_id) == same]
                overtaken = any(two.state == "sent" or two.notice.type == "retraction" for two in later)
                if one.state == "failed" and one.destination in destinations and not overtaken:
                    entries[place] = one.model_copy(update={"state": "pending"})
            if entries != self._entries:
                self._write(entries)

    def discard_unsent(self) -> None:
        """Remove all unsent entries except retractions."""
        with self._lock:
            self._write([one for one in self._entries if one.state == "sent" or one.notice.type == "retraction"])

    def next_pending(self, destination: str) -> Entry | None:
        """Return the oldest notice that this destination should get; None if there is none."""
        return next((one for one in self.entries if one.destination == destination and one.state == "pending"), None)

    def update(self, entry: Entry, **changes: Any) -> Entry:
        """Change an entry in the file, and return it."""
        with self._lock:
            place = next(
                index
                for index, one in enumerate(self._entries)
                if (one.destination, one.key) == (entry.destination, entry.key)
            )
            entries = list(self._entries)
            entries[place] = entries[place].model_copy(update=changes)
            self._write(entries)
            return entries[place]

    def _write(self, entries: list[Entry]) -> None:
        write_atomically(self._path, _to_bytes(entries))
        self._entries = entries


def _to_bytes(entries: list[Entry]) -> bytes:
    return _File(entries=entries).model_dump_json().encode()


@contextmanager
def open_outbox(folder: Path) -> Iterator[Outbox]:
    """Open the outbox of a folder, and keep other processes from it; raises InputError if one has it open.

    Some network file systems have no locks: there, a warning is logged instead.
    """
    try:
        lock = (folder / ".notices.lock").open("ab")
    except OSError as error:
        raise InputError(f"{folder}: the outbox of notices cannot be opened ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process sends notices from {folder}: wait for it") from None
        except OSError as error:  # a file system without locks
            log.warning("%s: cannot be locked (%s): send from it by one process alone", folder, error.strerror)
        yield Outbox(folder)


def _read(path: Path) -> list[Entry]:
    try:
        with path.open("rb") as file:
            return _File.model_validate_json(read_limited(file, MAX_READ)).entries
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise InputError(f"{path} is not a valid outbox ({describe_errors(error)}): move it away") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
