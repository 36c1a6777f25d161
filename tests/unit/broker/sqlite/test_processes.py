"""The embedded broker: forks and children, and the lock files by which processes know each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from skymap_scanner.broker import Backlog, Outgoing

from .conftest import FAILOVER, SHARED, TOPIC, open_at


def test_forked_child_must_reopen_and_holds_no_lock(path: Path) -> None:
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
        finally:
            os.kill(int(child), 9)
            parent.stdout.close()


def test_subprocess_holds_no_lock(path: Path) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        consumer = broker.consumer(TOPIC, "s", SHARED)
        assert consumer.receive(0) is not None
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        try:
            consumer._lock.release()  # as the kernel does when the consumer crashes
            assert broker.backlog(TOPIC, "s") == Backlog(waiting=1, unacked=0)
        finally:
            child.kill()
            child.wait()
            consumer.close()


def lock_files(path: Path) -> list[Path]:
    folder = path.with_name(path.name + "-consumers")
    return sorted(folder.iterdir()) if folder.exists() else []


def test_closed_broker_leaves_one_file(path: Path) -> None:
    with open_at(path) as broker:
        for kind in SHARED, FAILOVER:
            broker.consumer(TOPIC, kind, kind)
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        assert len(lock_files(path)) == 2
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_lock_files_of_crashed_consumers_are_removed(path: Path) -> None:
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


def test_consumers_survive_deleted_lock_files(path: Path) -> None:
    with open_at(path) as broker:
        consumers = [broker.consumer(TOPIC, "s", SHARED) for _ in range(2)]
        shutil.rmtree(path.with_name(path.name + "-consumers"))
        assert broker.backlog(TOPIC, "s") == Backlog(0, 0)
        broker.producer(TOPIC, "p").send(Outgoing(b"x"))
        messages = [consumer.receive(0.2) for consumer in consumers]
        assert [message is None for message in messages] == [False, True]
        assert len(lock_files(path)) == 1
