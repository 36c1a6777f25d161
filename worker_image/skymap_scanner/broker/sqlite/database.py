"""The file of the embedded broker: its tables, how it is opened, and what its errors mean.

SQLite runs in WAL mode, so that any number of processes of one machine read while one writes. ``synchronous=NORMAL``: a
commit is handed to the operating system, so it survives the end of any process. After a power failure the file returns
to an earlier, consistent state, from which the roles continue.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skymap_scanner.broker.protocol import Closing
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError
from skymap_scanner.file_systems import check_local

#: "SkyM" in the file's header identifies our database.
APPLICATION_ID = int.from_bytes(b"SkyM", "big")

#: Increases with every change of the tables below.
SCHEMA_VERSION = 2

#: How long to wait for the transactions of other processes (s); each takes well under a millisecond.
BUSY_TIMEOUT = 30.0

SCHEMA = (
    "CREATE TABLE topic (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)",
    # position counts 1, 2, 3 ... within a topic. payload comes last, so that the others are read without its pages.
    """CREATE TABLE message (
        topic INTEGER NOT NULL REFERENCES topic ON DELETE CASCADE,
        position INTEGER NOT NULL,
        key TEXT,
        properties TEXT NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (topic, position))""",
    """CREATE TABLE producer (
        topic INTEGER NOT NULL REFERENCES topic ON DELETE CASCADE,
        name TEXT NOT NULL,
        last_sequence_id INTEGER NOT NULL,
        PRIMARY KEY (topic, name)) WITHOUT ROWID""",
    # cursor: the last position ever delivered. A message is acknowledged if it is up to the cursor and not in delivery.
    """CREATE TABLE subscription (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        topic INTEGER NOT NULL REFERENCES topic ON DELETE CASCADE,
        name TEXT NOT NULL,
        cursor INTEGER NOT NULL DEFAULT 0,
        UNIQUE (topic, name))""",
    # Ids increase, so the lowest id of a failover subscription is its oldest consumer: the active one.
    """CREATE TABLE consumer (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
        kind TEXT NOT NULL,
        token TEXT NOT NULL)""",
    "CREATE INDEX consumer_subscription ON consumer (subscription)",
    # Messages delivered and not acknowledged: held by a consumer, or released (consumer NULL). Removing a consumer
    # releases the messages that it held. due: end of the acknowledgement timeout, by time.monotonic().
    """CREATE TABLE delivery (
        subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
        position INTEGER NOT NULL,
        consumer INTEGER REFERENCES consumer ON DELETE SET NULL,
        due REAL,
        PRIMARY KEY (subscription, position)) WITHOUT ROWID""",
    "CREATE INDEX delivery_given_back ON delivery (subscription, position) WHERE consumer IS NULL",
    "CREATE INDEX delivery_held ON delivery (consumer) WHERE consumer IS NOT NULL",
    "CREATE INDEX delivery_due ON delivery (subscription, due) WHERE consumer IS NOT NULL AND due IS NOT NULL",
)


class Database:
    """One connection to the broker's file.

    Any thread of the process that opened it may use it: calls take turns. A forked child may not. Every SQLite error
    is raised as a BrokerError that names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with _named_errors(path):
            self._connection = _connect(path)

    @property
    def usable(self) -> bool:
        """Whether it is open and used by the process that opened it."""
        return self._connection is not None and os.getpid() == self._process

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, outside any transaction."""
        with self._lock, _named_errors(self.path):
            return self._open_connection().execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """Return the first value of a query; None if it has no row."""
        return next((row[0] for row in self.read(sql, parameters)), None)

    def version(self) -> int:
        """Return a number that changes when another connection writes; the cheapest of all queries."""
        return int(self.value("PRAGMA data_version"))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a write transaction: all or nothing, one at a time."""
        with self._lock, _named_errors(self.path):
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have rolled it back already
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; safe to repeat. A forked child leaves it to the parent."""
        with self._lock:
            if self.usable and self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open_connection(self) -> sqlite3.Connection:
        if os.getpid() != self._process:
            raise BrokerError(f"{self.path}: opened before a fork; open the broker again in the new process")
        if self._connection is None:
            raise BrokerError(f"{self.path}: already closed")
        return self._connection


class DatabaseClient(Closing):
    """Has a database connection of its own, closed by ``with`` or `close`; closing twice does nothing."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    @property
    def usable(self) -> bool:
        """Whether it is open and used by the process that opened it."""
        return self._database.usable

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def prepare(path: Path) -> None:
    """Create the database at ``path``, or check that the existing one is ours and writable.

    Raises InputError if the path cannot be used, such as one on a network file system; BrokerError if the file is
    damaged.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it first")
    check_local(path)
    try:
        connection = _connect(path)
        try:
            _make_or_check(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        match _primary_code(error):
            case sqlite3.SQLITE_NOTADB:
                raise InputError(f"{path}: not the database of a broker; give another path") from error
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
                raise InputError(
                    f"{path}: cannot be written to ({error}); it, and its folder, must be writable"
                ) from error
        raise _named(error, path) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit, since Database begins its transactions itself; its lock makes threads take turns.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_or_check(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")  # one snapshot: another process may be creating the tables
    try:
        ours = _is_ours(connection, path)
    finally:
        connection.execute("ROLLBACK")
    if not ours:
        _switch_to_wal(connection, path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(connection, path):  # another process may have been faster
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(
            f"PRAGMA user_version={SCHEMA_VERSION}"
        )  # always a write, which fails if the file is read-only
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether it has our tables; False if it is empty. Raises InputError if it is anything else."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 and version == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise InputError(f"{path}: a SQLite database of another program; give another path")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema version {version}, this build knows {SCHEMA_VERSION}; "
            "use the version of the scanner that made it, or give another path"
        )
    return True


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch the new file to WAL; SQLite refuses that at once while another process reads the file."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
            continue
        if mode != "wal":
            raise InputError(f"{path}: this file system cannot hold the broker's database; give a path on a local disk")
        return


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _named(error, path) from error
    except OSError as error:  # of the consumers' lock files
        raise BrokerError(f"{error.filename or path}: {error.strerror}; check the disk and the permissions") from error
    except UnicodeEncodeError as error:
        raise BrokerError(f"{path}: a name, key or property is not valid Unicode: {error.object!r}") from error


def _primary_code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error of the Python module itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


#: What happened and what to do, by SQLite's primary result code.
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full ({}); free some space and start again; nothing stored is lost",
    sqlite3.SQLITE_CORRUPT: "damaged ({}); move it away and start the scan again",
    sqlite3.SQLITE_NOTADB: "damaged ({}); move it away and start the scan again",
    sqlite3.SQLITE_READONLY: "cannot be written to ({}); check the permissions",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened ({}); check that it is still there, and the permissions",
    sqlite3.SQLITE_IOERR: "cannot be read or written ({}); check the disk",
    sqlite3.SQLITE_TOOBIG: "a message is too large ({}); SQLite holds up to 1 GB in one",
    sqlite3.SQLITE_CONSTRAINT: "the topic has been deleted while in use ({})",
}


def _named(error: sqlite3.Error, path: Path) -> BrokerError:
    """Return an error that names the file, what happened and what to do."""
    code = _primary_code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BrokerUnavailable(
            f"{path}: another process kept it locked for more than {BUSY_TIMEOUT:.0f} s; "
            "look for a stopped process or a very slow disk, and try again"
        )
    advice = "{}" if code is None else _ADVICE.get(code, "{}")
    return BrokerError(f"{path}: {advice.format(error)}")
