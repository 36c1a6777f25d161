"""Publishes notices to Kafka; the only module that imports its client.

The idempotency key is the key of the message. A crash may leave a message in the topic that the outbox does not know to
be there. So whoever sends a notice again first reads the topic since the notice was made: if its key is there, it is
done. Within one attempt the idempotent producer keeps the client's own retries from making two messages.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any
from uuid import uuid4

import certifi
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from skymap_scanner.notices.channel import NotDelivered, Undeliverable
from skymap_scanner.notices.gcn_settings import client_configuration, topic_of
from skymap_scanner.notices.outbox import Entry

log = logging.getLogger(__name__)

#: Clocks of two machines that resume one outbox may differ by so much (s).
_CLOCKS_DIFFER = 600.0
#: Longest read of the topic (messages).
_MOST_MESSAGES = 100_000
#: Errors of the client itself, whose names begin with an underscore.
_END_OF_PARTITION, _TIMED_OUT = KafkaError._PARTITION_EOF, KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001
#: Errors after which another attempt would fail, too.
_FINAL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
}
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}


class KafkaChannel:
    """Publishes to ``topic``, or to GCN's own if it is empty; ``environment`` names the broker and the credentials.

    Raises InputError as `client_configuration`.
    """

    def __init__(self, topic: str, environment: Mapping[str, str]) -> None:
        self._topic = topic
        # log_level: its lines on standard error repeat what servers say. Attempts are logged by the sender.
        self._configuration: dict[str, Any] = {
            **client_configuration(environment, os.environ.get("SSL_CERT_FILE") or certifi.where()),
            "client.id": "skymap-scanner",
            "log_level": 0,
        }

    def send(self, entry: Entry, seconds: float) -> None:
        """Publish a notice, unless an earlier attempt did; see `Channel`."""
        end = time.monotonic() + seconds
        topic = topic_of(self._topic, entry.notice)
        try:
            if entry.attempts > 1 and self._published(topic, entry, end):
                return
            self._publish(topic, entry, end)
        except KafkaException as error:
            raise _failure(error.args[0]) from None

    def _publish(self, topic: str, entry: Entry, end: float) -> None:
        failures: list[KafkaError] = []
        outcome: list[KafkaError | None] = []
        milliseconds = max(int(1000 * (end - time.monotonic())), 1)
        producer = Producer(
            {
                **self._configuration,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "message.timeout.ms": milliseconds,
                "error_cb": failures.append,
            }
        )
        producer.produce(
            topic, entry.document.encode(), entry.key, on_delivery=lambda error, _message: outcome.append(error)
        )
        producer.flush(milliseconds / 1000)
        if not outcome:
            producer.purge()
        error = outcome[0] if outcome else _TIMED_OUT
        if error is not None:
            raise _failure(_reason(error, failures))

    def _published(self, topic: str, entry: Entry, end: float) -> bool:
        """Return whether the topic has a message with this key; False, with a warning, if it may not be read."""
        consumer = Consumer(
            {
                **self._configuration,
                "group.id": f"skymap-scanner-{uuid4()}",  # the client wants one; nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        with closing(consumer):
            try:
                return self._find(consumer, topic, entry, end)
            except KafkaException as error:
                if error.args[0].code() not in _FORBIDDEN:
                    raise
        log.warning("these credentials may not read %s: notice %s may be published a second time", topic, entry.key)
        return False

    def _find(self, consumer: Consumer, topic: str, entry: Entry, end: float) -> bool:
        listed = consumer.list_topics(topic, _left(end)).topics[topic]
        if listed.error is not None:
            if listed.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return False
            raise KafkaException(listed.error)
        since = int(1000 * (datetime.fromisoformat(entry.notice.created).timestamp() - _CLOCKS_DIFFER))
        starts = consumer.offsets_for_times(
            [TopicPartition(topic, one, since) for one in listed.partitions], _left(end)
        )
        for start in starts:
            if start.error is not None:
                raise KafkaException(start.error)
        waiting = {start.partition for start in starts if start.offset != OFFSET_END}
        consumer.assign([start for start in starts if start.partition in waiting])
        for _ in range(_MOST_MESSAGES):
            if not waiting:
                return False
            message = consumer.poll(_left(end))
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() != _END_OF_PARTITION:
                    raise KafkaException(error)
                waiting.discard(message.partition())
            elif message.key() == entry.key.encode():
                return True
        raise NotDelivered(f"{topic} has more than {_MOST_MESSAGES} messages since the notice was made")


def _left(end: float) -> float:
    """Return the seconds that are left; raises NotDelivered when there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise NotDelivered("the broker does not answer in time")
    return left


def _reason(outcome: KafkaError, failures: Sequence[KafkaError]) -> KafkaError:
    """Return why a message was not delivered: an outcome that is final, else the last error of the connection."""
    return outcome if outcome.code() in _FINAL or not failures else failures[-1]


def _failure(error: KafkaError) -> NotDelivered | Undeliverable:
    """Return the failure for an error, with the client's text for its code: a server's own text may hold secrets."""
    text = KafkaError(error.code()).str()
    return Undeliverable(text) if error.code() in _FINAL else NotDelivered(text)
