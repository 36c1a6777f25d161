"""The embedded broker: what receiving costs, in instructions of its virtual machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skymap_scanner.broker import Backlog, Consumer, Outgoing, SubscriptionType

from .conftest import FAILOVER, SHARED, TOPIC, open_at


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


def test_cost_of_receive_does_not_grow(path: Path) -> None:
    count = 100_000
    with open_at(path) as broker:
        consumer = broker.consumer(TOPIC, "s", SHARED)
        producer = broker.producer(TOPIC, "p")
        consumer._next_watch = float("inf")  # the watch depends on the time, so it is counted separately

        def receive() -> None:
            assert consumer.receive(0) is not None

        producer.send(*(Outgoing(b"x") for _ in range(10)))
        fresh = steps(consumer, receive)
        assert fresh > 20
        producer.send(*(Outgoing(b"x") for _ in range(count)))
        # All but the last 1000 are acknowledged; of these, 500 are released and 490 are held by two consumers.
        with consumer._database.transaction() as connection:
            connection.execute("UPDATE subscription SET cursor = ?", (count,))
            connection.execute("DELETE FROM delivery")
            connection.executemany(
                "INSERT INTO delivery VALUES (1, ?, ?, NULL)",
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


@pytest.mark.parametrize(("kind", "ack_timeout"), [(FAILOVER, None), (SHARED, 60.0)])
def test_every_query_uses_an_index(path: Path, kind: SubscriptionType, ack_timeout: float | None) -> None:
    with open_at(path) as broker:
        broker.producer(TOPIC, "p").send(Outgoing(b"x", sequence_id=1), Outgoing(b"y", sequence_id=2))
        consumer = broker.consumer(TOPIC, "s", kind, ack_timeout=ack_timeout)
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
