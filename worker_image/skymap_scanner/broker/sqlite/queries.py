"""The queries of the embedded broker; an index answers each of them, so their cost does not grow with the database."""

from __future__ import annotations

import json

from skymap_scanner.broker.protocol import Backlog, Message
from skymap_scanner.broker.sqlite.database import Database
from skymap_scanner.errors import BrokerError


def topic_number(database: Database, topic: str) -> int:
    """Return the topic's id; raises BrokerError if there is no such topic."""
    rows = database.read("SELECT id FROM topic WHERE name = ?", (topic,))
    if not rows:
        raise BrokerError(f"{database.path}: no topic {topic!r}")
    return int(rows[0][0])


def subscription_number(database: Database, topic: str, subscription: str) -> int:
    """Return the subscription's id; raises BrokerError if there is no such subscription."""
    rows = database.read(
        "SELECT subscription.id FROM subscription JOIN topic ON topic.id = subscription.topic "
        "WHERE topic.name = ? AND subscription.name = ?",
        (topic, subscription),
    )
    if not rows:
        raise BrokerError(f"{database.path}: no subscription {subscription!r} on topic {topic!r}")
    return int(rows[0][0])


def last_sequence_id(database: Database, topic: int, producer: str) -> int:
    """Return the highest sequence id stored under this producer's name, -1 if none."""
    rows = database.read("SELECT last_sequence_id FROM producer WHERE topic = ? AND name = ?", (topic, producer))
    return int(rows[0][0]) if rows else -1


def last_position(database: Database, topic: int) -> int:
    """Return the position of the topic's last message, 0 if there is none."""
    rows = database.read("SELECT coalesce(max(position), 0) FROM message WHERE topic = ?", (topic,))
    return int(rows[0][0])


def message_at(database: Database, topic: int, position: int, attempts: int) -> Message | None:
    """Return the topic's message at ``position``, None if there is none."""
    rows = database.read(
        "SELECT payload, key, properties FROM message WHERE topic = ? AND position = ?",
        (topic, position),
    )
    if not rows:
        return None
    payload, key, properties = rows[0]
    return Message((topic, position), payload, key, json.loads(properties), attempts)


def next_position(database: Database, subscription: int) -> int | None:
    """Return the position to deliver next, or None: first those given back, then the first never delivered.

    Raises BrokerError if the subscription has been deleted.
    """
    # Without INDEXED BY, SQLite chooses the primary key and scans every message that consumers hold.
    rows = database.read(
        "SELECT position FROM delivery INDEXED BY delivery_given_back "
        "WHERE subscription = ? AND consumer IS NULL ORDER BY position LIMIT 1",
        (subscription,),
    )
    if rows:
        return int(rows[0][0])
    rows = database.read(
        "SELECT s.cursor + 1, EXISTS (SELECT 1 FROM message WHERE topic = s.topic AND position = s.cursor + 1) "
        "FROM subscription AS s WHERE s.id = ?",
        (subscription,),
    )
    if not rows:
        raise BrokerError(f"{database.path}: the topic has been deleted while in use")
    position, exists = rows[0]
    return int(position) if exists else None


def cursor(database: Database, subscription: int) -> int:
    """Return the last position ever delivered, 0 if none."""
    rows = database.read("SELECT cursor FROM subscription WHERE id = ?", (subscription,))
    return int(rows[0][0]) if rows else 0


def backlog(database: Database, subscription: int) -> Backlog:
    """Count the messages that wait and those that consumers hold."""
    rows = database.read(
        "SELECT coalesce((SELECT max(position) FROM message WHERE topic = s.topic), 0) - s.cursor"
        " + (SELECT count(*) FROM delivery INDEXED BY delivery_given_back"
        " WHERE subscription = s.id AND consumer IS NULL),"
        " (SELECT count(*) FROM delivery WHERE subscription = s.id AND consumer IS NOT NULL)"
        " FROM subscription AS s WHERE s.id = ?",
        (subscription,),
    )
    return Backlog(*rows[0]) if rows else Backlog(0, 0)


def attempts(database: Database, subscription: int, position: int) -> int:
    """Return how often a message that is not acknowledged has been delivered."""
    rows = database.read(
        "SELECT attempts FROM delivery WHERE subscription = ? AND position = ?", (subscription, position)
    )
    return int(rows[0][0])


def consumers(database: Database, subscription: int) -> list[tuple[int, str]]:
    """Return the id and the token of every consumer of the subscription."""
    return [
        (number, token)
        for number, token in database.read("SELECT id, token FROM consumer WHERE subscription = ?", (subscription,))
    ]


def tokens(database: Database) -> set[str]:
    """Return the tokens of all consumers of all subscriptions."""
    return {token for (token,) in database.read("SELECT token FROM consumer")}


def kinds(database: Database, subscription: int) -> set[str]:
    """Return the kind of the subscription's consumers, as a set; empty if there are none."""
    return {kind for (kind,) in database.read("SELECT kind FROM consumer WHERE subscription = ?", (subscription,))}


def is_queued(database: Database, consumer: int) -> bool:
    """Return whether the consumer is still a consumer of its subscription."""
    return bool(database.read("SELECT 1 FROM consumer WHERE id = ?", (consumer,)))


def active_consumer(database: Database, subscription: int) -> int | None:
    """Return the oldest consumer of the subscription."""
    rows = database.read("SELECT min(id) FROM consumer WHERE subscription = ?", (subscription,))
    return None if rows[0][0] is None else int(rows[0][0])


def newest_consumer(database: Database, subscription: int) -> int:
    """Return the newest consumer of the subscription."""
    return int(database.read("SELECT max(id) FROM consumer WHERE subscription = ?", (subscription,))[0][0])


def any_overdue(database: Database, subscription: int, now: float) -> bool:
    """Return whether a consumer holds a message beyond its acknowledgement timeout."""
    return bool(
        database.read(
            "SELECT 1 FROM delivery WHERE subscription = ? AND due < ? AND consumer IS NOT NULL LIMIT 1",
            (subscription, now),
        )
    )
