"""Pulsar's statistics of topics: read, validated and bounded.

Numbers that a scan's own Pulsar sends may be anything; what is returned fits the fields of the resource's status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from skymap_api.resource.base import INT32


@dataclass(frozen=True, slots=True)
class Subscription:
    """Statistics of a subscription.

    ``waiting``: messages without a consumer; ``unacked``: messages in flight. ``busy``: addresses of the consumers
    that have a message in flight. ``done``: messages that its consumers received before their last one; ``spent``: the
    time from each consumer's connection to its last message (s, the broker's clock). ``type``: the type of its
    consumers, such as Shared, None if it never had any.
    """

    waiting: int = 0
    unacked: int = 0
    busy: frozenset[str] = frozenset()
    done: int = 0
    spent: float = 0.0
    type: str = "None"


def read_subscriptions(body: bytes) -> dict[str, Subscription]:
    """Read the statistics of a topic, or of one partition: its subscriptions by name.

    Raises ValueError if they are not Pulsar's.
    """
    return {name: one.subscription() for name, one in _TopicStats.model_validate_json(body).subscriptions.items()}


def read_partitions(body: bytes) -> int:
    """Read how many partitions a topic has. Raises ValueError if it is not Pulsar's answer."""
    return _Partitions.model_validate_json(body).partitions


def add_subscriptions(partitions: Iterable[Mapping[str, Subscription]], count: int) -> dict[str, Subscription]:
    """Add up the statistics of a topic's ``count`` partitions, by subscription.

    A consumer is connected to all partitions of a topic at once, so each counts for its share of the time.
    """
    found: dict[str, Subscription] = {}
    for part in partitions:
        for name, one in part.items():
            before = found.get(name, Subscription(type=one.type))
            found[name] = Subscription(
                min(before.waiting + one.waiting, INT32),
                min(before.unacked + one.unacked, INT32),
                before.busy | one.busy,
                before.done + one.done,
                before.spent + one.spent / count,
                " and ".join(sorted({*before.type.split(" and "), one.type})),
            )
    return found


class _Stats(BaseModel):
    """A part of the statistics. What Pulsar gives as null counts as not given."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, found: Any) -> Any:
        return {name: value for name, value in found.items() if value is not None} if isinstance(found, dict) else found


_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Partitions(_Stats):
    partitions: _Int64 = 0


class _ConsumerStats(_Stats):
    address: str = ""
    connected_since: str = ""
    msg_out_counter: _Int64 = 0
    last_consumed_timestamp: _Int64 = 0
    unacked_messages: _Int64 = 0

    def host(self) -> str:
        """Return the address (``/10.0.0.7:41234``) without its port."""
        return self.address.lstrip("/").rpartition(":")[0].strip("[]")

    def pace(self) -> tuple[int, float]:
        """Return the messages received before the last one, and the time from the connection to the last one (s)."""
        done, last = self.msg_out_counter - 1, self.last_consumed_timestamp / 1000
        try:
            connected = datetime.fromisoformat(self.connected_since).timestamp()
        except (ValueError, OverflowError):
            return 0, 0.0
        return (done, last - connected) if done > 0 and last > connected else (0, 0.0)


class _SubscriptionStats(_Stats):
    msg_backlog: _Int64 = 0
    unacked_messages: _Int64 = 0
    type: str = "None"
    consumers: tuple[_ConsumerStats, ...] = ()

    def subscription(self) -> Subscription:
        """Return the statistics; Pulsar's backlog counts unacknowledged messages, too."""
        total = min(max(self.msg_backlog, 0), INT32)
        unacked = min(max(self.unacked_messages, 0), total)
        paces = [consumer.pace() for consumer in self.consumers]
        return Subscription(
            total - unacked,
            unacked,
            frozenset(consumer.host() for consumer in self.consumers if consumer.unacked_messages > 0),
            sum(done for done, _ in paces),
            sum(spent for _, spent in paces),
            self.type,
        )


class _TopicStats(_Stats):
    subscriptions: dict[str, _SubscriptionStats]
