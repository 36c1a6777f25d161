"""The embedded broker compared with a model in memory, by calls that hypothesis chooses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skymap_scanner.broker import Backlog, Consumer, Message, Outgoing, SubscriptionType, open_broker

TOPIC = "persistent://icecube/skymap/topic"
SUBSCRIPTIONS = {"shared": SubscriptionType.SHARED, "failover": SubscriptionType.FAILOVER}


@dataclass
class ModelSubscription:
    """The messages to deliver again, the holder of each delivered message, and the consumers in order of age."""

    cursor: int = 0
    given_back: set[int] = field(default_factory=set)
    held: dict[int, int] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)

    def receive(self, kind: SubscriptionType, consumer: int, log_size: int) -> int | None:
        if kind is SubscriptionType.FAILOVER and self.queue[0] != consumer:
            return None
        if self.given_back:
            position = min(self.given_back)
            self.given_back.remove(position)
        elif self.cursor < log_size:
            position = self.cursor
            self.cursor += 1
        else:
            return None
        self.held[position] = consumer
        return position

    def ack(self, position: int) -> None:
        self.held.pop(position, None)
        self.given_back.discard(position)

    def nack(self, position: int, consumer: int) -> None:
        if self.held.get(position) == consumer:
            del self.held[position]
            self.given_back.add(position)

    def leave(self, consumer: int) -> None:
        for position in [position for position, holder in self.held.items() if holder == consumer]:
            self.nack(position, consumer)
        self.queue.remove(consumer)


class BrokerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log: list[Outgoing] = []
        self.last = {"p": -1, "q": -1}
        self.model = {name: ModelSubscription() for name in SUBSCRIPTIONS}
        self.consumers: dict[int, tuple[str, Consumer]] = {}
        self.received: list[tuple[str, int, Message]] = []
        self.count = 0

    @initialize()
    def open(self) -> None:
        self.broker = open_broker(f"sqlite:///{Path(self.folder.name) / 'broker.db'}")
        self.broker.create_topic(TOPIC, SUBSCRIPTIONS)
        self.producers = {name: self.broker.producer(TOPIC, name) for name in self.last}
        self.reader = self.broker.reader(TOPIC)
        self.read = 0

    def teardown(self) -> None:
        self.broker.close()
        self.folder.cleanup()

    @rule(
        name=st.sampled_from(["p", "q"]),
        messages=st.lists(
            st.builds(
                Outgoing,
                payload=st.binary(max_size=9),
                key=st.none() | st.text(max_size=3),
                properties=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
                sequence_id=st.none() | st.integers(0, 30),
            ),
            max_size=4,
        ),
    )
    def send(self, name: str, messages: list[Outgoing]) -> None:
        self.producers[name].send(*messages)
        for message in messages:
            if message.sequence_id is None or message.sequence_id > self.last[name]:
                self.log.append(message)
                self.last[name] = self.last[name] if message.sequence_id is None else message.sequence_id

    @precondition(lambda self: len(self.consumers) < 5)
    @rule(subscription=st.sampled_from(sorted(SUBSCRIPTIONS)))
    def join(self, subscription: str) -> None:
        self.count += 1
        consumer = self.broker.consumer(TOPIC, subscription, SUBSCRIPTIONS[subscription])
        self.consumers[self.count] = (subscription, consumer)
        self.model[subscription].queue.append(self.count)

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.consumers)))
        subscription, consumer = self.consumers.pop(number)
        consumer.close()
        self.model[subscription].leave(number)

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), times=st.integers(1, 4))
    def receive(self, data: st.DataObject, times: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.consumers)))
        subscription, consumer = self.consumers[number]
        model = self.model[subscription]
        for _ in range(times):
            expected = model.receive(SUBSCRIPTIONS[subscription], number, len(self.log))
            message = consumer.receive(0)
            if expected is None:
                assert message is None
                return
            assert message is not None
            self.same(message, self.log[expected])
            self.received.append((subscription, expected, message))

    def chosen(self, data: st.DataObject) -> Iterator[tuple[int, Consumer, list[tuple[int, Message]]]]:
        """Yield messages received by any consumer, and an open consumer of their subscription."""
        for subscription in SUBSCRIPTIONS:
            numbers = sorted(number for number, (name, _) in self.consumers.items() if name == subscription)
            pairs = [(position, message) for name, position, message in self.received if name == subscription]
            if numbers and pairs:
                number = data.draw(st.sampled_from(numbers))
                picked = data.draw(st.lists(st.sampled_from(range(len(pairs))), max_size=3))
                yield number, self.consumers[number][1], [pairs[at] for at in picked]

    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        for number, consumer, pairs in self.chosen(data):
            consumer.ack(*(message for _, message in pairs))
            for position, _ in pairs:
                self.model[self.consumers[number][0]].ack(position)

    @rule(data=st.data())
    def nack(self, data: st.DataObject) -> None:
        for number, consumer, pairs in self.chosen(data):
            consumer.nack(*(message for _, message in pairs))
            for position, _ in pairs:
                self.model[self.consumers[number][0]].nack(position, number)

    @rule()
    def read_on(self) -> None:
        while (message := self.reader.receive(0)) is not None:
            self.same(message, self.log[self.read])
            self.read += 1
        assert self.read == len(self.log)

    @rule()
    def start_again(self) -> None:
        self.broker.close()
        for number, (subscription, _) in self.consumers.items():
            self.model[subscription].leave(number)
        self.consumers.clear()
        self.open()

    @invariant()
    def the_figures_agree(self) -> None:
        if not hasattr(self, "broker"):
            return
        for name, model in self.model.items():
            waiting = len(self.log) - model.cursor + len(model.given_back)
            assert self.broker.backlog(TOPIC, name) == Backlog(waiting, len(model.held))
        assert {name: producer.last_sequence_id for name, producer in self.producers.items()} == self.last

    def same(self, message: Message, sent: Outgoing) -> None:
        assert message.payload == sent.payload
        assert message.key == sent.key
        assert message.properties == sent.properties


TestBroker = pytest.mark.timeout(900)(BrokerMachine.TestCase)  # shrinking a failure takes minutes
TestBroker.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
