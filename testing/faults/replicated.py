"""Faults of a replicated Pulsar, each played on a whole scan, with the verdict of `testing.history`.

    scan begins ─▶ some best fits are collected ─▶ strike ─▶ scan ends ─▶ restore ─▶ judge topics, map and witness

The witness is a producer of numbered messages on a topic of its own, which notes what the broker has acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Access, Broker, Outgoing, open_broker
from skymap_scanner.broker.protocol import arrived
from testing.history import read_history, violations
from testing.killing import LocalScan
from testing.pulsar.replicated import Node, ReplicatedPulsar
from testing.waiting import UnavailableError, eventually
from testing.witness import Log, check_log

NAMESPACE = "persistent://icecube/skymap"

#: Best fits after which the fault strikes: the first level has begun, the second has not.
STRUCK_AFTER = 5

#: A scan of about 60 fits; what `run` is told about them.
LEVELS = ("1:0", "2:4", "4:4")
DUMMY = ("--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.3")
SEEDS = ("--seeds", "2", "--workers", "2")

#: How long a scan may take on a busy machine (s).
SCAN_SECONDS = 280.0


@dataclass
class Stage:
    """A running cluster, the files of a scan without faults, and the token of its roles."""

    cluster: ReplicatedPulsar
    event: Path
    folder: Path
    expected: Mapping[str, str]
    token_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.token_file = self.folder / "token"
        self.token_file.write_text(self.cluster.token("scanner"))
        tenant = {"adminRoles": ["scanner"], "allowedClusters": ["replicated"]}
        self.cluster.request("PUT", "/admin/v2/tenants/icecube", tenant).raise_for_status()

    def scan(self, name: str) -> LocalScan:
        """Return a scan over the cluster, not started yet."""
        token = ("--auth-token", str(self.token_file))
        return LocalScan(self.event, self.folder / name, LEVELS, self.cluster, (*SEEDS, *DUMMY, *token))

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """Open the cluster as a client whose token does not expire."""
        own = self.folder / "own.token"
        own.write_text(self.cluster.token("scanner"))
        address = self.cluster.address
        with open_broker(address.url, Access(address.admin_url, own)) as broker:
            yield broker

    def collected(self, name: str) -> int:
        """Return the number of best fits that are collected so far; raises UnavailableError while it is unknown."""
        topic = ScanTopics.of(name).collected.replace("://", "/")
        answer = self.cluster.request("GET", f"/admin/v2/{topic}/stats")
        if not answer.is_success:
            raise UnavailableError(f"{answer.status_code} {answer.text[:200]}")
        return int(answer.json()["msgInCounter"])


def undisturbed(event: Path, folder: Path) -> dict[str, str]:
    """Return the checksums of the files of the same scan over the embedded broker; raises RuntimeError if it fails."""
    scan = LocalScan(event, folder / "undisturbed", LEVELS, more=(*SEEDS, *DUMMY))
    if scan.start().wait(SCAN_SECONDS) != 0:
        raise RuntimeError(scan.folder.with_suffix(".log").read_text())
    return scan.digest()


#: Strikes in the middle of a scan; what it returns restores the cluster when the scan has ended.
Strike = Callable[[Stage, str], Callable[[], None]]


def bookie_lost(stage: Stage, name: str) -> Callable[[], None]:
    """A bookie is killed, and comes back only after the scan."""
    bookie = stage.cluster.bookies[0]
    bookie.kill()
    return lambda: _start_bookie(stage.cluster, bookie)


def owner_lost(stage: Stage, name: str) -> Callable[[], None]:
    """The broker that serves the fits is killed, and comes back only after the scan."""
    broker = stage.cluster.owner(ScanTopics.of(name).scanned)
    broker.kill()
    return lambda: _start_broker(stage.cluster, broker)


FAULTS: dict[str, Strike] = {
    "a bookie is lost": bookie_lost,
    "a topic's owner is lost": owner_lost,
}


def _start_bookie(cluster: ReplicatedPulsar, bookie: Node) -> None:
    bookie.start()
    cluster.wait_until_writable(bookie)


def _start_broker(cluster: ReplicatedPulsar, broker: Node) -> None:
    broker.start()
    cluster.wait_until_ready(broker)


@dataclass(frozen=True)
class Outcome:
    """What became of a scan: its duration (s), and what is wrong.

    ``collected``: best fits when the fault struck; ``acknowledged``: messages of the witness.
    """

    fault: str
    seconds: float
    collected: int
    acknowledged: int
    wrong: tuple[str, ...]


def play(stage: Stage, fault: str, name: str) -> Outcome:
    """Strike with a fault in the middle of a scan named ``name``, and judge what the topics and the map hold."""
    scan = stage.scan(name)
    with _witness(stage, name) as log:
        began = time.monotonic()
        process = scan.start()
        eventually(lambda: process.poll() is not None or stage.collected(name) >= STRUCK_AFTER, within=SCAN_SECONDS)
        collected = stage.collected(name)
        wrong = ["the scan ended before the fault"] if process.poll() is not None else []
        restore = FAULTS[fault](stage, name)
        try:
            if process.wait(SCAN_SECONDS) != 0:
                raise RuntimeError(f"the scan failed: {scan.folder.with_suffix('.log').read_text()}")
        finally:
            seconds = time.monotonic() - began
            restore()
    with stage.broker() as broker:
        [i3_file] = scan.folder.glob("run*.i3.zst")
        history = read_history(broker, ScanTopics.of(name), i3_file)
        stored = _numbers(broker, f"{NAMESPACE}/witness-{name}")
    # A fit that is stored twice may be left when the collector has ended.
    wrong += [*violations(replace(history, left={})), *check_log(log, stored)]
    if scan.digest() != dict(stage.expected):
        wrong.append("the files differ from those without a fault")
    return Outcome(fault, seconds, collected, len(log.stored), tuple(wrong))


@contextmanager
def _witness(stage: Stage, name: str) -> Iterator[Log]:
    """Send numbered messages, until the block ends, and note which the broker has acknowledged."""
    log, stop = Log(), threading.Event()

    def send() -> None:
        with stage.broker() as broker, broker.producer(f"{NAMESPACE}/witness-{name}", "witness") as producer:
            for number in range(10**6):
                log.attempted.append(number)
                producer.send(Outgoing(str(number).encode(), sequence_id=number))
                log.stored.append(number)
                if stop.wait(0.05):
                    return

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield log
    finally:
        stop.set()
        sender.join(SCAN_SECONDS)
    if sender.is_alive():
        raise RuntimeError(f"the witness still waits for message {log.attempted[-1]}")


def _numbers(broker: Broker, topic: str) -> list[int]:
    """Return the messages of the witness."""
    with broker.reader(topic, create=False) as reader:
        return [int(message.payload) for message in arrived(reader, 5.0)]
