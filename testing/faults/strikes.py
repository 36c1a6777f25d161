"""The faults of a replicated Pulsar. Each one strikes in the middle of a scan, and checks that it has an effect.

A strike returns when it is over, or when what it has broken stays so; the function that it returns mends the cluster
when the scan has ended. Raises AssertionError if the cluster does not notice the fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from skymap_api.names import ScanTopics
from testing.faults.disk import full
from testing.faults.stage import Stage
from testing.pulsar.replicated import Node, ReplicatedPulsar
from testing.waiting import eventually

Mend = Callable[[], None]
Strike = Callable[[Stage, str], Mend]

#: Lifetime of tokens that expire (s), of which a scan needs several.
TOKEN_SECONDS = 20.0

#: How long ZooKeeper hangs (s): longer than the sessions of brokers and bookies, which are 6 s.
HANG_SECONDS = 15.0

#: How long the cluster may take to notice a fault on a busy machine (s).
NOTICED = 120.0


@dataclass(frozen=True)
class Fault:
    """A strike, how long each fit takes (s), so that the scan is still running then, and the lifetime of tokens (s)."""

    strike: Strike
    fit_seconds: float = 0.3
    token_seconds: float | None = None


def bookie_lost(stage: Stage, name: str) -> Mend:
    """A bookie that stores the fits is killed, and comes back only after the scan."""
    bookie = _bookie_of_fits(stage, name)
    bookie.kill()
    return lambda: start(stage.cluster, bookie)


def bookie_full(stage: Stage, name: str) -> Mend:
    """The disk of a bookie that stores the fits fills up; it goes read-only, and another one gets the fits."""
    cluster, bookie, stack = stage.cluster, _bookie_of_fits(stage, name), ExitStack()
    stack.enter_context(full(bookie.folder / "ledgers"))
    with ExitStack() as unless_noticed:
        unless_noticed.callback(stack.close)
        eventually(lambda: bookie.check() or bookie.logged("Transitioning Bookie to ReadOnly mode"), within=NOTICED)
        fits = ScanTopics.of(name).scanned
        eventually(lambda: cluster.copies(fits), lambda found: bookie not in found, within=NOTICED)
        unless_noticed.pop_all()

    def mend() -> None:
        stack.close()
        eventually(lambda: bookie.check() or bookie.logged("Transitioning Bookie to Writable mode"), within=NOTICED)

    return mend


def bookies_restarted(stage: Stage, name: str) -> Mend:
    """Every bookie is restarted, one after the other."""
    return _restart(stage.cluster, stage.cluster.bookies)


def brokers_restarted(stage: Stage, name: str) -> Mend:
    """Every broker is restarted, one after the other."""
    return _restart(stage.cluster, stage.cluster.brokers)


def owner_lost(stage: Stage, name: str) -> Mend:
    """The broker that serves the fits is killed, and comes back only after the scan."""
    broker = stage.cluster.owner(ScanTopics.of(name).scanned)
    broker.kill()
    return lambda: start(stage.cluster, broker)


def leader_lost(stage: Stage, name: str) -> Mend:
    """The leader of the brokers is killed; another one is elected before it comes back, after the scan."""
    leader = stage.cluster.leader()
    leader.kill()
    eventually(stage.cluster.leader, lambda found: found is not leader, within=NOTICED)
    return lambda: start(stage.cluster, leader)


def sessions_lost(stage: Stage, name: str) -> Mend:
    """ZooKeeper hangs until it has lost the sessions of all brokers and bookies."""
    zookeeper, others = stage.cluster.zookeeper, (*stage.cluster.bookies, *stage.cluster.brokers)
    before = zookeeper.logged("Expiring session")
    with zookeeper.suspended():
        time.sleep(HANG_SECONDS)
    eventually(lambda: zookeeper.logged("Expiring session") - before, lambda lost: lost >= len(others), within=NOTICED)

    def mend() -> None:
        for bookie in stage.cluster.bookies:
            stage.cluster.wait_until_writable(bookie)
        for broker in stage.cluster.brokers:
            stage.cluster.wait_until_ready(broker)

    return mend


def token_expired(stage: Stage, name: str) -> Mend:
    """The token of the roles expires, on connections that are open."""

    def refreshed() -> int:
        return sum(one.logged("Refreshed authentication credentials for role scanner") for one in stage.cluster.brokers)

    before = refreshed()
    time.sleep(TOKEN_SECONDS)
    eventually(refreshed, lambda found: found > before, within=NOTICED)
    return lambda: None


FAULTS: dict[str, Fault] = {
    "bookie lost": Fault(bookie_lost),
    "bookie's disk full": Fault(bookie_full, fit_seconds=1.5),
    "bookies restarted in turn": Fault(bookies_restarted, fit_seconds=3),
    "owner of the fits lost": Fault(owner_lost),
    "leader of the brokers lost": Fault(leader_lost, fit_seconds=1.5),
    "brokers restarted in turn": Fault(brokers_restarted, fit_seconds=4),
    "ZooKeeper's sessions lost": Fault(sessions_lost, fit_seconds=1.5),
    "token expires": Fault(token_expired, fit_seconds=1.5, token_seconds=TOKEN_SECONDS),
}


def start(cluster: ReplicatedPulsar, node: Node) -> None:
    """Start a bookie or a broker; return when it is ready."""
    node.start()
    if node in cluster.brokers:
        cluster.wait_until_ready(node)
    else:
        cluster.wait_until_writable(node)


def _restart(cluster: ReplicatedPulsar, nodes: Sequence[Node]) -> Mend:
    for node in nodes:
        node.stop()
        start(cluster, node)
    return lambda: None


def _bookie_of_fits(stage: Stage, name: str) -> Node:
    return eventually(lambda: stage.cluster.copies(ScanTopics.of(name).scanned))[0]
