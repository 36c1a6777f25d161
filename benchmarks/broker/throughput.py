"""Messages per second through the embedded broker: ``python benchmarks/broker/throughput.py [--messages N]``.

Sends messages one by one and in batches, then receives and acknowledges them with 1, 2 and 4 consumers, each in its own
process. It measures wall time, since the processes compete for the file; on a busy machine take the best of several
runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skymap_scanner.broker import Broker, Outgoing, SubscriptionType, open_broker

TOPIC = "persistent://icecube/skymap/benchmark"
PAYLOAD = bytes(1000)
BATCH = 100


def consume(url: str, subscription: str) -> None:
    """Wait for a line on stdin, then receive and acknowledge all messages; print the number and the times."""
    with open_broker(url) as broker, broker.consumer(TOPIC, subscription, SubscriptionType.SHARED) as consumer:
        print("ready", flush=True)
        sys.stdin.readline()
        started, count = time.monotonic(), 0
        while (message := consumer.receive(0)) is not None:
            consumer.ack(message)
            count += 1
        print(count, started, time.monotonic(), flush=True)


def send(broker: Broker, count: int, batch: int) -> float:
    """Return the messages sent per second, with ``batch`` messages per call."""
    with broker.producer(TOPIC, f"batch-{batch}") as producer:
        started = time.monotonic()
        for first in range(0, count, batch):
            producer.send(*(Outgoing(PAYLOAD, sequence_id=first + nth) for nth in range(batch)))
        return count / (time.monotonic() - started)


def receive(url: str, consumers: int) -> float:
    """Return the messages received and acknowledged per second by all consumers."""
    command = [sys.executable, __file__, "--consume", url, f"subscription-{consumers}"]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(consumers)
    ]
    for process in processes:
        assert process.stdout is not None  # noqa: S101 - Popen was asked for it
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None  # noqa: S101 - as above
        process.stdin.write("\n")
        process.stdin.flush()
    reports = [process.communicate() for process in processes]
    counts, starts, ends = zip(*(map(float, out.split()) for out, _ in reports), strict=True)
    return float(sum(counts) / (max(ends) - min(starts)))


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000, help="of 1000 bytes each (default: %(default)s)")
    parser.add_argument("--consume", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.consume:
        consume(*options.consume)
        return
    count = options.messages // BATCH * BATCH
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'broker.db'}"
        with open_broker(url) as broker:
            print(f"send, one by one        {send(broker, count, 1):9.0f} messages/s")
            broker.delete_topic(TOPIC)
            print(f"send, batches of {BATCH:<5d}  {send(broker, count, BATCH):9.0f} messages/s")
            for consumers in (1, 2, 4):
                print(f"receive + ack, {consumers} consumers {receive(url, consumers):7.0f} messages/s")


if __name__ == "__main__":
    main()
