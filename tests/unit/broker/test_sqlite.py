"""What the embedded broker promises beyond the contract: its file, its errors, its lock files, its cost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skymap_scanner.broker import Backlog, Broker, Consumer, Outgoing, SubscriptionType, database, open_broker
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError

TOPIC = "persistent://icecube/skymap/scan-to_be_scanned"
SHARED, FAILOVER = SubscriptionType.SHARED, SubscriptionType.FAILOVER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


def open_at(path: Path) -> Broker:
    return open_broker(f"sqlite:///{path}")


# URLs and files


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_broker("sqlite:///here.db") as broker:
        broker.create_topic(TOPIC)
    with open_broker(f"sqlite:////{tmp_path.relative_to('/')}/here.db") as broker:
        assert broker.topics() == [TOPIC]


def test_a_path_is_taken_literally(tmp_path: Path) -> None:
    with open_at(tmp_path / "a b%20c?mode=ro#1 é.db"):
        pass
    assert (tmp_path / "a b%20c?mode=ro#1 é.db").is_file()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unknown scheme"),
        ("broker.db", "unknown scheme"),
        ("kafka://host:9092", "unknown scheme 'kafka'"),
        ("pulsar://host:6650", "this build speaks sqlite only"),
        ("pulsar+ssl://host:6651", "this build speaks sqlite only"),
        ("sqlite:", "sqlite:///PATH"),
        ("sqlite://", "sqlite:///PATH"),
        ("sqlite:///", "sqlite:///PATH"),
        ("sqlite:///:memory:", "sqlite:///PATH"),
        ("sqlite://two/slashes.db", "sqlite:///PATH"),
        ("sqlite:///nul\0.db", "sqlite:///PATH"),
    ],
)
def test_a_bad_url_is_explained(url: str, words: str) -> None:
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
        (_text, "not a broker's database"),
        (_foreign, "another program"),
        (_newer, f"has schema version {database.SCHEMA_VERSION + 1}"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_alone(
    path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(path)
    before = path.is_file() and path.read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        open_at(path)
    assert str(path) in str(caught.value)
    assert (path.is_file() and path.read_bytes()) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no folder {tmp_path / 'no'}; make it first"):
        open_at(tmp_path / "no" / "broker.db")


def test_an_unwritable_place_is_refused() -> None:
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


def test_a_file_without_write_permission_is_refused(ordinary_user: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.db"
        open_at(path).close()
        path.chmod(0o444)
        with pytest.raises(InputError, match="cannot be written to"):
            open_at(path)


def test_an_empty_file_becomes_a_broker(path: Path) -> None:
    path.touch()
    with open_at(path) as broker:
        assert broker.topics() == []


def test_many_processes_may_make_it_at_once(path: Path) -> None:
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


def test_many_threads_may_make_it_at_once(tmp_path: Path) -> None:
    for attempt in range(50):  # the first look at a file that is just being made must not take it for a stranger's
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


# Failures


def test_a_full_disk_is_explained_and_loses_nothing(path: Path) -> None:
    with open_at(path) as broker:
        producer = broker.producer(TOPIC, "p")
        producer.send(Outgoing(b"kept", sequence_id=0))
        ((pages,),) = producer._database.read("PRAGMA page_count")
        producer._database.read(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(BrokerError, match=r"the disk is full .* make room") as caught:
            producer.send(Outgoing(b"small", sequence_id=1), Outgoing(bytes(10**6), sequence_id=2))
        assert str(path) in str(caught.value)
        assert producer.last_sequence_id == 0
        producer._database.read("PRAGMA max_page_count=1000000")
        producer.send(Outgoing(b"later", sequence_id=1))
        reader = broker.reader(TOPIC)
        assert [message.payload for message in (reader.receive(0), reader.receive(0)) if message] == [b"kept", b"later"]


def test_a_consumer_on_a_full_disk_still_lets_go(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        consumer = broker.consumer(TOPIC, "s", SHARED)
        assert consumer.receive(0) is not None
        consumer._database.read("PRAGMA query_only=1")  # it refuses every write, as a full disk does
        consumer.close()
        assert broker.backlog(TOPIC, "s") == Backlog(waiting=1, unacked=0)


def test_a_lock_held_for_long_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    with open_at(path) as broker, sqlite3.connect(path, isolation_level=None) as other:
        producer = broker.producer(TOPIC, "p")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerUnavailable, match="another process kept it locked"):
            producer.send(Outgoing(b"x"))
        other.execute("ROLLBACK")
        producer.send(Outgoing(b"x"))
    other.close()


def test_a_damaged_file_is_named(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(*(Outgoing(bytes(1000)) for _ in range(200)))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(BrokerError, match=r"damaged .* move it away") as caught, open_at(path) as broker:
        broker.reader(TOPIC).receive(0)
    assert str(path) in str(caught.value)


def test_a_topic_deleted_while_in_use_is_an_error(path: Path) -> None:
    with open_at(path) as broker:
        producer, reader = broker.producer(TOPIC, "p"), broker.reader(TOPIC)
        consumer = broker.consumer(TOPIC, "s", SHARED)
        broker.delete_topic(TOPIC)
        for use in (lambda: producer.send(Outgoing(b"")), lambda: reader.receive(0), lambda: consumer.receive(0)):
            with pytest.raises(BrokerError, match="deleted"):
                use()


def test_text_that_is_not_unicode_is_an_error(path: Path) -> None:
    with open_at(path) as broker, pytest.raises(BrokerError, match="not valid Unicode"):
        broker.producer(TOPIC, "p").send(Outgoing(b"", key="\udc80"))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_an_impossible_ack_timeout_is_an_error(path: Path, seconds: float) -> None:
    with open_at(path) as broker, pytest.raises(InputError, match="ack_timeout"):
        broker.consumer(TOPIC, "s", SHARED, ack_timeout=seconds)


def test_an_interrupted_transaction_leaves_no_trace(path: Path) -> None:
    class Interrupted(dict[str, str]):
        def __iter__(self):  # stands for Ctrl-C in the middle of a send
            raise KeyboardInterrupt

        keys = __iter__

    with open_at(path) as broker:
        producer = broker.producer(TOPIC, "p")
        with pytest.raises(KeyboardInterrupt):
            producer.send(Outgoing(b"a"), Outgoing(b"b", properties=Interrupted()))
        producer.send(Outgoing(b"c"))
        message = broker.reader(TOPIC).receive(0)
        assert message is not None
        assert message.payload == b"c"


# Processes


def test_a_forked_child_is_told_to_open_anew_and_keeps_no_lock(path: Path) -> None:
    code = """
import os, sys, time
from skymap_scanner.broker import SubscriptionType, open_broker
from skymap_scanner.errors import BrokerError
broker = open_broker(sys.argv[1])
consumer = broker.consumer(sys.argv[2], "s", SubscriptionType.SHARED)
assert consumer.receive(10) is not None
if os.fork() == 0:
    try:
        consumer.receive(0)
    except BrokerError as error:
        assert "before a fork" in str(error)
        broker.close()  # changes nothing for the parent
        print("child", os.getpid(), flush=True)
        time.sleep(600)
os.wait()
"""
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        parent = subprocess.Popen(
            [sys.executable, "-c", code, f"sqlite:///{path}", TOPIC], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        word, child = parent.stdout.readline().split()
        try:
            assert word == "child"
            consumer = broker.consumer(TOPIC, "s", SHARED)
            assert consumer.receive(0.3) is None
            parent.kill()
            parent.wait()
            message = consumer.receive(20)  # although the child lives
            assert message is not None
            assert message.attempts == 2
        finally:
            os.kill(int(child), 9)
            parent.stdout.close()


def test_a_subprocess_keeps_no_lock(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        consumer = broker.consumer(TOPIC, "s", SHARED)
        assert consumer.receive(0) is not None
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        try:
            consumer._presence.leave()  # as the kernel does at the consumer's death
            assert broker.backlog(TOPIC, "s") == Backlog(waiting=1, unacked=0)
        finally:
            child.kill()
            child.wait()
            consumer.close()


# Lock files


def lock_files(path: Path) -> list[Path]:
    folder = path.with_name(path.name + "-consumers")
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_closed_broker_leaves_one_file(path: Path) -> None:
    with open_at(path) as broker:
        for kind in SHARED, FAILOVER:
            broker.consumer(TOPIC, kind, kind)
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        assert len(lock_files(path)) == 2
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_files_of_the_dead_are_cleaned_up(path: Path) -> None:
    code = (
        "import os, sys; from skymap_scanner.broker import SubscriptionType, open_broker\n"
        "broker = open_broker(sys.argv[1])\n"
        "kept = [broker.consumer(sys.argv[2], 's', SubscriptionType.SHARED) for _ in range(3)]\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}", TOPIC], check=False)
    assert len(lock_files(path)) == 3
    (path.with_name(path.name + "-consumers") / "never-registered").touch()
    with open_at(path) as broker, broker.consumer(TOPIC, "another", SHARED):
        broker.backlog(TOPIC, "s")
        assert len(lock_files(path)) == 1


def test_consumers_survive_the_loss_of_their_lock_files(path: Path) -> None:
    with open_at(path) as broker:
        consumers = [broker.consumer(TOPIC, "s", SHARED) for _ in range(2)]
        shutil.rmtree(path.with_name(path.name + "-consumers"))
        assert broker.backlog(TOPIC, "s") == Backlog(0, 0)
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        messages = [consumer.receive(0.2) for consumer in consumers]
        assert [message is None for message in messages] == [False, True]
        assert len(lock_files(path)) == 1


# Cost


def steps(consumer: Consumer, action: Callable[[], object]) -> int:
    """Count the virtual machine's instructions that ``action`` takes: the same on every machine."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection = consumer._database._connection
    connection.set_progress_handler(step, 1)
    try:
        action()
    finally:
        connection.set_progress_handler(None, 1)
    return count


def test_receiving_costs_the_same_whatever_came_before(path: Path) -> None:
    count = 100_000
    with open_at(path) as broker:
        consumer = broker.consumer(TOPIC, "s", SHARED)
        producer = broker.producer(TOPIC, "p")
        consumer._next_watch = float("inf")  # it looks after the others by the clock, so it is counted apart

        def receive() -> None:
            assert consumer.receive(0) is not None

        producer.send(*(Outgoing(b"x") for _ in range(10)))
        fresh = steps(consumer, receive)
        assert fresh > 20
        producer.send(*(Outgoing(b"x") for _ in range(count)))
        # All but the last 1000 are acknowledged, of these 500 are given back and 490 are held, by this one and another.
        with consumer._database.transaction() as connection:
            connection.execute("UPDATE subscription SET cursor = ?", (count,))
            connection.execute("DELETE FROM delivery")
            connection.executemany(
                "INSERT INTO delivery VALUES (1, ?, ?, 1, NULL)",
                [(count - nth, None if nth < 500 else consumer._number) for nth in range(990)],
            )
        assert broker.backlog(TOPIC, "s") == Backlog(waiting=510, unacked=490)
        costs = [steps(consumer, receive) for _ in range(510)]
        assert max(costs) <= 1.5 * fresh
        assert consumer.receive(0) is None

        def watch() -> None:
            consumer._next_watch = 0.0
            assert consumer.receive(0) is None

        assert steps(consumer, watch) <= 5 * fresh


def test_every_question_is_answered_by_an_index(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x", sequence_id=1), Outgoing(b"y", sequence_id=2))
        consumer = broker.consumer(TOPIC, "s", FAILOVER, ack_timeout=60)
        asked: list[str] = []
        consumer._database._connection.set_trace_callback(asked.append)
        message = consumer.receive(0)
        assert message is not None
        consumer._next_watch = 0.0
        consumer.receive(0)
        consumer.nack(message)
        consumer.ack(message)
        consumer._database._connection.set_trace_callback(None)
        queries = {sql for sql in asked if sql.startswith(("SELECT", "UPDATE", "DELETE"))}
        assert len(queries) > 8
        for sql in queries - {"SELECT token FROM consumer"}:
            for *_, step in consumer._database.read(f"EXPLAIN QUERY PLAN {sql}"):
                assert not step.startswith("SCAN"), f"{sql}: {step}"
