"""The collector: waits for all seeds of a pixel and passes on the best.

scanned ─▶ best of the seeds ─▶ collected
"""

from __future__ import annotations

import logging

from skymap_scanner.broker.protocol import Broker, Message, Outgoing, SubscriptionType
from skymap_scanner.roles.frames import read_best, read_scored
from skymap_scanner.roles.planreader import PlanReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import COLLECTOR, ScanTopics
from skymap_scanner.scan.bests import Slots
from skymap_scanner.scan.pixels import Pixel

log = logging.getLogger(__name__)


def collect(broker: Broker, topics: ScanTopics, stop: Stop) -> None:
    """Collect until every planned pixel has its best, or until asked to stop.

    Raises
    ------
    BrokerError
        If the broker refuses, or a message cannot be read.
    """
    with PlanReader(broker, topics.plan) as plan:
        scan = plan.wait_for_scan(stop)
        if scan is None:
            return
        slots: Slots[Message] = Slots(scan.seeds)
        done = _collected_before(broker, topics)
        repeats = 0
        with (
            broker.consumer(topics.scanned, COLLECTOR, SubscriptionType.FAILOVER) as scanned,
            broker.producer(topics.collected, "collector") as collected,
        ):
            while not stop.requested:
                message = scanned.receive(timeout=0.1)
                if message is None:
                    if plan.complete(done):
                        break
                    continue
                fit = read_scored(message)
                if fit.pixel in done:
                    repeats += 1
                    scanned.ack(message)
                    continue
                pixel = slots.add(fit)
                if pixel is not None:
                    kept = pixel.fits if scan.keep_all_seeds else pixel.fits[:1]
                    collected.send(Outgoing(b"".join(one.source.payload for one in kept), key=fit.pixel.key))
                    scanned.ack(*pixel.sources)
                    done.add(fit.pixel)
    log.info("%d pixels collected, %d repeated fits ignored", len(done), repeats)


def _collected_before(broker: Broker, topics: ScanTopics) -> set[Pixel]:
    """Read which pixels an earlier collector has passed on, so that a repeated fit opens no new slot."""
    done: set[Pixel] = set()
    with broker.reader(topics.collected) as reader:
        while (message := reader.receive(timeout=0)) is not None:
            done.add(read_best(message.payload).pixel)
    return done
