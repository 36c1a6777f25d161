"""The collector: waits for the fits of all seeds of a round of a pixel and stores the best one.

    scanned ─▶ best fit of the seeds ─▶ collected

Every decision is made in `decisions`, without I/O. A fit that is invalid (`fit_validation`) is rejected and its task
is republished (`republishing`). Best fits are stored in batches of what has arrived. The collector reads ``collected``
itself, so that it knows the rounds that other collectors have completed. Such a read costs a request to the broker, so
it is rare while fits arrive, and the plan is read only for a round that is not in it yet.
"""

from __future__ import annotations

import logging
import time
import uuid
from itertools import islice

from skymap_api.names import COLLECTOR_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker.protocol import Broker, SubscriptionType, arrived
from skymap_scanner.roles.collector.decisions import IdleTimeout, PixelCollector
from skymap_scanner.roles.collector.republishing import Republisher
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.readers import CollectedReader, PlanReader
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit

log = logging.getLogger(__name__)

#: Fits received before the best fits among them are stored: a tenth of a second of work for one collector.
BATCH = 500

#: Time to wait for the first fit of a batch (s).
WAIT = 0.1

#: Time between two reads of ``collected`` while fits arrive (s).
READ_INTERVAL = 1.0

#: Idle timeout (s) after which a key-shared collector negatively acknowledges the fits of incomplete rounds, so that
#: they are delivered again; it doubles each time, since fits may simply take that long.
NACK_AFTER, LONGEST_NACK = 5.0, 60.0

#: Idle timeout (s) after which, if a fit was rejected, the tasks without a fit are republished.
REPUBLISH_AFTER, LONGEST_REPUBLISH = 60.0, 3600.0


def collect(broker: Broker, topics: ScanTopics, stop: Stop, *, key_shared: bool = False) -> bool:
    """Collect: True when the best fit of every planned pixel is stored, False if a stop was requested first.

    ``key_shared``: several collectors work at the same time, each on the pixels whose keys the broker assigns to it;
    otherwise one works while the others stand by. Raises BrokerError if the broker rejects a request; BrokerUnavailable
    if it cannot be reached; SoftwareMismatchError if best fits of several reconstructions are stored.
    """
    kind = SubscriptionType.KEY_SHARED if key_shared else SubscriptionType.FAILOVER
    with PlanReader(broker, topics.plan) as plan_reader:
        scan = plan_reader.wait_for_scan(stop)
        if scan is None:
            return False
        plan_reader.update()
        validator = FitValidator(scan)
        pixel_collector = PixelCollector(validator, topics.scanned)
        nack = IdleTimeout(time.monotonic(), NACK_AFTER, LONGEST_NACK)
        republish = IdleTimeout(time.monotonic(), REPUBLISH_AFTER, LONGEST_REPUBLISH)
        complete, next_read = False, 0.0
        with (
            broker.consumer(topics.scanned, COLLECTOR_SUBSCRIPTION, kind) as scanned,
            broker.producer(topics.collected, f"collector-{uuid.uuid4()}") as best_fits,
            CollectedReader(broker, topics.collected, validator) as collected,
            Republisher(broker, topics, validator) as republisher,
        ):
            while not (complete or stop.requested):
                messages = [*islice(arrived(scanned, WAIT), BATCH)]
                stored: list[PixelFit] = []
                # The best fits of earlier collectors decide which reconstruction makes the map.
                if not messages or validator.provenance is None or time.monotonic() >= next_read:
                    stored = [one.fit for one in collected.arrived()]
                    next_read = time.monotonic() + READ_INTERVAL
                fits = pixel_collector.validate(messages)
                plan = plan_reader.plan
                if not fits or not pixel_collector.known(fits, plan):
                    plan_reader.update()
                decision = pixel_collector.decide(fits, plan, stored)
                if decision.best_fits:
                    best_fits.send(*decision.best_fits)  # stored first …
                republisher.publish(decision.republications, plan)
                if decision.to_acknowledge:
                    scanned.ack(*decision.to_acknowledge)  # … acknowledged after
                for timeout in (nack, republish):
                    timeout.record(time.monotonic(), fits=len(fits), completed=len(decision.best_fits))
                if fits:
                    continue
                complete = plan.complete(pixel_collector.done.__contains__)
                if (
                    pixel_collector.rejected.kept
                    and not complete
                    and republish.expired(time.monotonic())
                    and republisher.publish_all(pixel_collector.missing(plan), plan, stop)
                ):
                    scanned.ack(*pixel_collector.rejected.release())
                if key_shared and nack.expired(time.monotonic()):
                    scanned.nack(*pixel_collector.drop_incomplete())
            if complete:
                scanned.ack(*pixel_collector.rejected.release())
    log.info("%s; %s", pixel_collector.summary, republisher.summary)
    return complete
