"""Plays faults of a replicated Pulsar on whole scans, with the verdict of `testing.history`.

    scan begins ─▶ some best fits are collected ─▶ strike ─▶ scan ends ─▶ mend ─▶ judge topics, map and witness

The witness is a producer of numbered messages on a topic of its own, which notes what the broker has acknowledged.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Broker, Outgoing
from skymap_scanner.broker.protocol import arrived
from testing.faults.stage import SCAN_SECONDS, Stage
from testing.faults.strikes import FAULTS
from testing.history import History, read_history, violations
from testing.killing import LocalScan
from testing.waiting import eventually
from testing.witness import Log, check_log

NAMESPACE = "persistent://icecube/skymap"

#: Best fits after which the fault strikes: the first level has begun, the second has not.
STRUCK_AFTER = 5


@dataclass(frozen=True)
class Outcome:
    """What became of a scan, and what is wrong.

    ``collected``: best fits when the fault struck; ``struck``, ``seconds``: durations of the strike and of the scan
    (s); ``waited``: the longest time until a message of the witness was acknowledged (s); ``acknowledged``: the number
    of them; ``stored``: messages of the scan that were judged; ``repeated``: fits that were stored again.
    """

    fault: str
    collected: int
    struck: float
    seconds: float
    waited: float
    acknowledged: int
    stored: int
    repeated: int
    wrong: tuple[str, ...]


def play(stage: Stage, name: str, scan_name: str) -> Outcome:
    """Strike with a fault in the middle of a scan, and judge what the topics and the map hold."""
    fault = FAULTS[name]
    scan = stage.scan(scan_name, fault.fit_seconds)
    began = time.monotonic()
    # Also if the strike raises, the scan ends, before its token and the witness do.
    with _witness(stage, scan_name) as log, stage.token(fault.token_seconds), scan.running() as process:
        eventually(
            lambda: process.poll() is not None or stage.collected(scan_name) >= STRUCK_AFTER, within=SCAN_SECONDS
        )
        collected, struck = stage.collected(scan_name), time.monotonic()
        mend = fault.strike(stage, scan_name)
        struck = time.monotonic() - struck
        wrong = ["the scan ended before the fault"] if process.poll() is not None else []
        try:
            if process.wait(SCAN_SECONDS) != 0:
                raise RuntimeError(f"the scan failed: {_logs(scan)}")
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the scan has not ended within {SCAN_SECONDS:g} s: {_logs(scan)}") from None
        finally:
            seconds = time.monotonic() - began
            mend()
    history, witnessed = _read(stage, scan, scan_name)
    # A fit that is stored twice may be left when the collector has ended.
    wrong += [*violations(replace(history, left={})), *check_log(log, witnessed)]
    if scan.digest() != dict(stage.expected):
        wrong.append("the files differ from those without a fault")
    stored = sum(map(len, (history.plan, history.tasks, history.fits, history.best_fits)))
    repeated = len(history.fits) - len(set(history.fits))
    figures = (collected, struck, seconds, log.waited, len(log.stored), stored, repeated)
    return Outcome(name, *figures, tuple(wrong))


@contextmanager
def _witness(stage: Stage, name: str) -> Iterator[Log]:
    """Send numbered messages until the block ends, and note which the broker has acknowledged.

    Raises RuntimeError if a send fails or does not return.
    """
    log, stop, failed = Log(), threading.Event(), list[Exception]()

    def send() -> None:
        try:
            with stage.broker() as broker, broker.producer(f"{NAMESPACE}/witness-{name}", "witness") as producer:
                while not stop.wait(0.05):
                    began, number = time.monotonic(), len(log.attempted)
                    log.attempted.append(number)
                    producer.send(Outgoing(str(number).encode(), sequence_id=number))
                    log.stored.append(number)
                    log.waited = max(log.waited, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - raised below, in the main thread
            failed.append(error)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield log
    finally:
        stop.set()
        sender.join(SCAN_SECONDS)
    if failed or sender.is_alive():
        raise RuntimeError(f"the witness has no answer for message {log.attempted[-1]}") from next(iter(failed), None)


def _logs(scan: LocalScan) -> str:
    """Return the last lines of the logs of a scan and its roles."""
    logs = [scan.folder.with_suffix(".log"), *sorted((scan.folder / "logs").glob("*.log"))]
    tails = (log.read_text(errors="replace").splitlines()[-10:] for log in logs)
    return "\n".join(f"--- {log.name}\n" + "\n".join(tail) for log, tail in zip(logs, tails, strict=True))


def _read(stage: Stage, scan: LocalScan, name: str) -> tuple[History, list[int]]:
    """Return what the topics of the scan hold, and the messages of the witness."""
    with stage.broker() as broker:
        [i3_file] = scan.folder.glob("run*.i3.zst")
        return read_history(broker, ScanTopics.of(name), i3_file), _numbers(broker, f"{NAMESPACE}/witness-{name}")


def _numbers(broker: Broker, topic: str) -> list[int]:
    with broker.reader(topic, create=False) as reader:
        return [int(message.payload) for message in arrived(reader, 5.0)]
