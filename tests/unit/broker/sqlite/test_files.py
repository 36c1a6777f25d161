"""The embedded broker: its URLs, and its file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.sqlite import database
from skymap_scanner.errors import InputError

from .conftest import SHARED, TOPIC, open_at


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_broker("sqlite:///here.db") as broker:
        broker.create_topic(TOPIC)
    with open_broker(f"sqlite:////{tmp_path.relative_to('/')}/here.db") as broker:
        assert broker.topics() == [TOPIC]


def test_path_is_taken_literally(tmp_path: Path) -> None:
    with open_at(tmp_path / "a b%20c?mode=ro#1 é.db"):
        pass
    assert (tmp_path / "a b%20c?mode=ro#1 é.db").is_file()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unknown scheme"),
        ("broker.db", "unknown scheme"),
        ("kafka://host:9092", "unknown scheme 'kafka'"),
        ("http://host:8080", "unknown scheme 'http'"),
        ("pulsar+tls://host:6651", "unknown scheme 'pulsar+tls'"),
        ("sqlite:", "sqlite:///PATH"),
        ("sqlite://", "sqlite:///PATH"),
        ("sqlite:///", "sqlite:///PATH"),
        ("sqlite:///:memory:", "sqlite:///PATH"),
        ("sqlite://two/slashes.db", "sqlite:///PATH"),
        ("sqlite:///nul\0.db", "sqlite:///PATH"),
    ],
)
def test_invalid_url_is_explained(url: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_broker(url)
    assert words in str(caught.value)
    assert repr(url) in str(caught.value)


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("nside: 8\n" * 1000)


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


def _newer(path: Path) -> None:
    open_at(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={database.SCHEMA_VERSION + 1}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_folder, "is a folder"),
        (_text, "not the database of a broker"),
        (_foreign, "another program"),
        (_newer, f"has schema version {database.SCHEMA_VERSION + 1}"),
    ],
)
def test_foreign_file_is_rejected_and_unchanged(path: Path, make: Callable[[Path], None], words: str) -> None:
    make(path)
    before = path.is_file() and path.read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        open_at(path)
    assert str(path) in str(caught.value)
    assert (path.is_file() and path.read_bytes()) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no folder {tmp_path / 'no'}; create it first"):
        open_at(tmp_path / "no" / "broker.db")


def test_unwritable_folder_is_rejected() -> None:
    with pytest.raises(InputError, match="cannot be written to"):
        open_at(Path("/proc/broker.db"))


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere: become somebody else for the test."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_read_only_file_is_rejected(ordinary_user: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.db"
        open_at(path).close()
        path.chmod(0o444)
        with pytest.raises(InputError, match="cannot be written to"):
            open_at(path)


def test_empty_file_becomes_a_broker(path: Path) -> None:
    path.touch()
    with open_at(path) as broker:
        assert broker.topics() == []


def test_processes_may_create_the_file_concurrently(path: Path) -> None:
    code = (
        "import sys; from skymap_scanner.broker import open_broker\n"
        "sys.stdin.readline(); b = open_broker(sys.argv[1])\n"
        "b.producer(sys.argv[2], sys.argv[3]); b.close()"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{path}", TOPIC]
    processes = [subprocess.Popen([*command, f"p{n}"], stdin=subprocess.PIPE, text=True) for n in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 6
    with open_at(path) as broker:
        assert broker.topics() == [TOPIC]


def test_threads_may_create_the_file_concurrently(tmp_path: Path) -> None:
    for attempt in range(50):  # a file that is being created must not look like a foreign one
        url = f"sqlite:///{tmp_path / str(attempt)}"
        barrier = threading.Barrier(6)

        def opened(url: str = url, barrier: threading.Barrier = barrier) -> list[str]:
            barrier.wait()
            with open_broker(url) as broker:
                return broker.topics()

        with ThreadPoolExecutor(6) as pool:
            assert [one.result() for one in [pool.submit(opened) for _ in range(6)]] == [[]] * 6


def test_links_lead_to_the_same_broker(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with open_at(path) as broker, open_at(link) as same:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        consumer = broker.consumer(TOPIC, "s", SHARED)
        assert consumer.receive(0) is not None
        assert same.consumer(TOPIC, "s", SHARED).receive(0.3) is None
        assert sorted(entry.name for entry in link.parent.iterdir()) == ["link.db"]
