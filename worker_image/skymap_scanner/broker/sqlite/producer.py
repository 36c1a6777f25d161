"""Storing messages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from skymap_scanner.broker.protocol import Outgoing
from skymap_scanner.broker.sqlite import queries
from skymap_scanner.broker.sqlite.database import DatabaseClient
from skymap_scanner.errors import BrokerError

_INSERT = "INSERT INTO message (topic, position, key, properties, payload) VALUES (?, ?, ?, ?, ?)"


class SqliteProducer(DatabaseClient):
    """Stores messages on one topic; see `broker.protocol.Producer`."""

    def __init__(self, path: Path, topic: str, name: str) -> None:
        super().__init__(path)
        self._name = name
        self._topic = queries.topic_number(self._database, topic)

    @property
    def last_sequence_id(self) -> int:
        """Highest sequence id stored under this name, -1 if none."""
        last = self._database.value(
            "SELECT last_sequence_id FROM producer WHERE topic = ? AND name = ?", (self._topic, self._name)
        )
        return -1 if last is None else int(last)

    def send(self, *messages: Outgoing) -> None:
        """Store all of the messages or none; see `broker.protocol.Producer`."""
        with self._database.transaction() as connection:
            before = self.last_sequence_id
            new, last = _deduplicated(messages, before)
            position = self._database.value("SELECT max(position) FROM message WHERE topic = ?", (self._topic,)) or 0
            connection.executemany(
                _INSERT,
                [
                    (self._topic, at, m.key, json.dumps(dict(m.properties)), m.payload)
                    for at, m in enumerate(new, start=position + 1)
                ],
            )
            if last > before:
                connection.execute(
                    "INSERT OR REPLACE INTO producer (topic, name, last_sequence_id) VALUES (?, ?, ?)",
                    (self._topic, self._name, last),
                )

    def submit(self, message: Outgoing) -> Future[None]:
        """Store the message before returning, since there is no network delay; see `broker.protocol.Producer`."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        try:
            self.send(message)
        except BrokerError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future


def _deduplicated(messages: Iterable[Outgoing], last: int) -> tuple[list[Outgoing], int]:
    """Drop the messages whose sequence id is not above all before; also return the highest id."""
    new = []
    for message in messages:
        if message.sequence_id is not None:
            if message.sequence_id <= last:
                continue
            last = message.sequence_id
        new.append(message)
    return new, last
