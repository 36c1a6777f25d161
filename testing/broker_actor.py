"""A process that uses a broker, for tests that stop or kill it: ``broker_actor.py ROLE URL ADMIN_URL TOPIC ...``.

It prints one line for each step it has done.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from skymap_scanner.broker import Access, Broker, Outgoing, SubscriptionType, open_broker


def say(*words: object) -> None:
    print(*words, flush=True)


def hold(broker: Broker, topic: str, kind: str, ack_timeout: str, count: str) -> None:
    """Receive ``count`` messages through the subscription "s" and hold them unacknowledged until killed."""
    timeout = float(ack_timeout) or None
    consumer = broker.consumer(topic, "s", SubscriptionType(kind), ack_timeout=timeout)
    say("ready")
    for _ in range(int(count)):
        message = consumer.receive(30)
        assert message is not None
        say(message.payload.decode())
    time.sleep(600)


def send(broker: Broker, topic: str, name: str) -> None:
    """Send numbered messages, continuing this producer name, until killed; print a line for each stored message."""
    producer = broker.producer(topic, name)
    number = producer.last_sequence_id
    say("ready", number)
    while True:
        number += 1
        producer.send(Outgoing(f"{number}".encode(), sequence_id=number))
        say(number)


def work(broker: Broker, topic: str, start: str) -> None:
    """Receive until no message arrives; negatively acknowledge every fifth message once.

    Prints number, start and end of each.
    """
    say("ready")
    while not Path(start).exists():
        time.sleep(0.01)
    with broker.consumer(topic, "s", SubscriptionType.SHARED) as consumer:
        while (message := consumer.receive(1.0)) is not None:
            received = time.monotonic()
            number = int(message.payload)
            returned = Path(f"{start}-{number}")
            back = number % 5 == 0 and not returned.exists()
            if back:
                returned.touch()
            released = time.monotonic()  # from here on another consumer may receive it
            (consumer.nack if back else consumer.ack)(message)
            say(number, received, released, "back" if back else "done")


if __name__ == "__main__":
    role, url, admin_url, *rest = sys.argv[1:]
    with open_broker(url, Access(admin_url=admin_url or None)) as broker:
        {"hold": hold, "send": send, "work": work}[role](broker, *rest)
