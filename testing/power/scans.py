"""Scans of ``skymap-scanner run`` in a folder whose disk loses power: what is left is judged, and resumed.

Two cases: the first scan of a folder, and another one that replaces it (``--restart``). Whatever a power cut leaves
must be whole: each result has the bytes that it would have without the cut, or is missing; a finished scan has all of
them; and an unfinished one has nothing of another, so that the same command completes it with the same bytes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymap_scanner.broker import open_broker
from skymap_scanner.broker.access import embedded_url
from skymap_scanner.cli.local_run import EVENT_FILE
from skymap_scanner.errors import SkymapError
from skymap_scanner.roles.local.local import BROKER_FILE
from skymap_scanner.roles.local.record import FILE as RECORD_FILE
from skymap_scanner.roles.local.record import read_record
from testing.power.disk import Change, Cut, Disk, Found, Renamed, found, kept, lay_out
from testing.power.recording import record

#: The fits cost nothing, so that all of the time goes into what is written.
OPTIONS = ("--levels", "1:0", "2:2", "--seeds", "2", "--workers", "1", "--format", "json", "--format", "npz")
DUMMY = ("--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20")

#: The folder of the scan, and of its workers' state, in the folder that is recorded.
SCAN, STATE = "scan", "state"


@dataclass(frozen=True)
class Command:
    """One ``skymap-scanner run`` of an event, in ``root``/scan."""

    event: Path
    root: Path
    more: Sequence[str] = ()

    @property
    def words(self) -> list[str]:
        scan = ["run", str(self.event), "-o", str(self.root / SCAN), *OPTIONS, *DUMMY, *self.more]
        return [sys.executable, "-P", "-m", "skymap_scanner", *scan]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SKYMAP_STATE": str(self.root / STATE)}

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words, capture_output=True, text=True, check=False, env=self.environment)


@dataclass(frozen=True)
class Undisturbed:
    """What a scan without a power cut writes: its results, the event that it keeps, the messages of each topic."""

    source: str
    results: dict[str, bytes]
    event: bytes
    topics: dict[str, list[bytes]]


@dataclass
class Case:
    """A recorded command; ``before`` is what its folder held, ``earlier`` the scan in it, if any."""

    command: Command
    before: dict[str, Found]
    changes: list[Change]
    scan: Undisturbed
    earlier: Undisturbed | None = None
    _disk: tuple[int, Disk] | None = field(default=None, init=False)

    @classmethod
    def recorded(cls, command: Command, scratch: Path, earlier: Undisturbed | None = None) -> Case:
        scratch.mkdir()
        before = found(command.root)
        changes = record(command.words, command.root, scratch, command.environment)
        case = cls(command, before, changes, Undisturbed("", {}, b"", {}), earlier)
        case.scan = case._undisturbed()
        return case

    def disk(self, number: int) -> Disk:
        """Return the disk after so many changes."""
        if self._disk is None or self._disk[0] > number:
            self._disk = (0, Disk(self.before))
        at, disk = self._disk
        for change in self.changes[at:number]:
            disk.apply(change)
        self._disk = (number, disk)
        return disk

    def cut(self, number: int, cut: Cut) -> list[str]:
        """Cut the power after so many changes, lay out what is left, and return what is wrong with it."""
        lay_out(self.disk(number).after(cut), self.command.root)
        return [f"after {number} changes, {cut.name}: {one}" for one in self._problems()]

    def resume(self) -> list[str]:
        """Resume what is laid out by the same command; return what is wrong with the result."""
        done = self.command.run()
        if done.returncode:
            return [f"it was not resumed: {done.stderr}"]
        folder = self.command.root / SCAN
        left = {path.name for path in folder.iterdir()} - {"logs", ".lock", RECORD_FILE}
        wrong = [f"{name} is left" for name in sorted(left - self.scan.results.keys())]
        return wrong + _different(folder, self.scan, missing=True)

    def _problems(self) -> list[str]:
        folder = self.command.root / SCAN
        scans = [self.scan, *([self.earlier] if self.earlier else [])]
        known = {name for scan in scans for name in scan.results}
        wrong = [f"{path.name} is unknown" for path in folder.glob("run*") if path.name not in known]
        try:
            current = read_record(folder)
        except SkymapError as error:
            return [*wrong, str(error)]
        if current is None:
            lone = (folder / BROKER_FILE).exists()
            return wrong + ["a database without a record"] * lone + _different(folder, self.scan, missing=False)
        scan = next(one for one in scans if current.event.startswith(one.source))
        wrong += [f"{name} is of another scan" for one in scans if one is not scan for name in _results(folder, one)]
        wrong += _different(folder, scan, missing=current.finished)
        return wrong if current.finished else wrong + _unresumable(folder, scan)

    def _undisturbed(self) -> Undisturbed:
        """Return what the command wrote; its messages from just before it removed the database."""
        folder = self.command.root / SCAN
        results = {path.name: path.read_bytes() for path in folder.glob("run*")}
        source = read_record(folder)
        assert source is not None
        [kept_event] = [
            n for n, c in enumerate(self.changes, 1) if isinstance(c, Renamed) and c.to.endswith(EVENT_FILE)
        ]
        everything = Cut("all is kept", kept, kept)
        event = self.disk(kept_event).after(everything)[f"{SCAN}/{EVENT_FILE}"]
        last = max(n for n in range(len(self.changes)) if f"{SCAN}/{BROKER_FILE}" in self.disk(n).names)
        finished = self.disk(last).after(everything)
        content, wal = (finished.get(f"{SCAN}/{BROKER_FILE}{suffix}") for suffix in ("", "-wal"))
        assert event is not None
        assert content is not None
        with_messages = self.command.root.with_name("messages")
        lay_out({"scan.sqlite": content, **({} if wal is None else {"scan.sqlite-wal": wal})}, with_messages)
        topics = messages(with_messages / "scan.sqlite")
        shutil.rmtree(with_messages)
        return Undisturbed(source.event, results, event, topics)


def _results(folder: Path, scan: Undisturbed) -> list[str]:
    return [name for name in scan.results if (folder / name).exists()]


def _different(folder: Path, scan: Undisturbed, *, missing: bool) -> list[str]:
    """Return the results with other bytes, and with ``missing`` those that are not there."""
    there = _results(folder, scan)
    wrong = [f"{name} has other bytes" for name in there if (folder / name).read_bytes() != scan.results[name]]
    return wrong + [f"{name} is missing" for name in scan.results if missing and name not in there]


def _unresumable(folder: Path, scan: Undisturbed) -> list[str]:
    """Return why a scan cannot be resumed from what is there of its event and database."""
    event, database = folder / EVENT_FILE, folder / BROKER_FILE
    wrong = []
    if event.exists() and event.read_bytes() != scan.event:
        wrong.append("the event is not whole, or of another scan")
    if database.exists():
        try:
            stored = messages(database)
        except (SkymapError, sqlite3.Error) as error:
            return [*wrong, f"the database: {error}"]
        wrong += [
            f"{topic} holds other messages"
            for topic, one in stored.items()
            if scan.topics.get(topic, [])[: len(one)] != one
        ]
    return wrong


def messages(database: Path) -> dict[str, list[bytes]]:
    """Return the messages of each topic; raises an error of SQLite or of the broker if the file is damaged."""
    with open_broker(embedded_url(database)) as broker:
        found_messages = {}
        for topic in broker.topics():
            with broker.reader(topic, create=False) as reader:
                found_messages[topic] = [one.payload for one in iter(lambda reader=reader: reader.receive(0), None)]
    connection = sqlite3.connect(database)
    try:
        [(state,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    finally:
        connection.close()
    if state != "ok":
        raise sqlite3.DatabaseError(state)
    return found_messages
