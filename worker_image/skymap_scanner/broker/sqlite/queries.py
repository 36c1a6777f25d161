"""Queries that several parts of the embedded broker share; an index answers each of them."""

from __future__ import annotations

import json

from skymap_scanner.broker.protocol import Backlog, Message
from skymap_scanner.broker.sqlite.database import Database
from skymap_scanner.errors import BrokerError


def topic_number(database: Database, topic: str) -> int:
    """Return the topic's id; raises BrokerError if there is no such topic."""
    number = database.value("SELECT id FROM topic WHERE name = ?", (topic,))
    if number is None:
        raise BrokerError(f"{database.path}: no topic {topic!r}")
    return int(number)


def subscription_number(database: Database, topic: str, subscription: str) -> int:
    """Return the subscription's id; raises BrokerError if there is no such subscription."""
    number = database.value(
        "SELECT subscription.id FROM subscription JOIN topic ON topic.id = subscription.topic "
        "WHERE topic.name = ? AND subscription.name = ?",
        (topic, subscription),
    )
    if number is None:
        raise BrokerError(f"{database.path}: no subscription {subscription!r} on topic {topic!r}")
    return int(number)


def message_at(database: Database, topic: int, position: int) -> Message | None:
    """Return the topic's message at ``position``, None if there is none."""
    rows = database.read(
        "SELECT payload, key, properties FROM message WHERE topic = ? AND position = ?",
        (topic, position),
    )
    if not rows:
        return None
    payload, key, properties = rows[0]
    return Message((topic, position), payload, key, json.loads(properties))


def next_position(database: Database, subscription: int) -> int | None:
    """Return the position to deliver next, or None: first those that were released, then the first never delivered.

    Raises BrokerError if the subscription has been deleted.
    """
    # Without INDEXED BY, SQLite chooses the primary key and scans every message that consumers hold.
    released = database.value(
        "SELECT position FROM delivery INDEXED BY delivery_given_back "
        "WHERE subscription = ? AND consumer IS NULL ORDER BY position LIMIT 1",
        (subscription,),
    )
    if released is not None:
        return int(released)
    rows = database.read(
        "SELECT s.cursor + 1, EXISTS (SELECT 1 FROM message WHERE topic = s.topic AND position = s.cursor + 1) "
        "FROM subscription AS s WHERE s.id = ?",
        (subscription,),
    )
    if not rows:
        raise BrokerError(f"{database.path}: the topic has been deleted while in use")
    position, exists = rows[0]
    return int(position) if exists else None


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


def tokens(database: Database) -> set[str]:
    """Return the tokens of all consumers of all subscriptions."""
    return {token for (token,) in database.read("SELECT token FROM consumer")}
