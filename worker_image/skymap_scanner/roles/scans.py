"""The scans on a broker: found by their topics, described, and deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from skymap_api.names import WORKERS_SUBSCRIPTION, ScanTopics, TopicBases
from skymap_api.progress import Progress, ProgressPhase, decode_progress
from skymap_scanner.broker.protocol import Backlog, Broker, Reader, arrived
from skymap_scanner.errors import BrokerError, BrokerUnavailable, InputError
from skymap_scanner.roles.topics import check_name

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundScan:
    """A scan as its topics describe it.

    ``existing``: those of its topics that exist, without ``metadata``, those with the event's frames. ``begun``:
    whether its plan has an entry.
    """

    name: str
    topics: ScanTopics
    existing: frozenset[str]
    metadata: tuple[str, ...] = ()
    begun: bool = False
    progress: Progress | None = None
    backlog: Backlog | None = None

    @property
    def phase(self) -> str:
        """Phase of the scan.

        ``pending``: its plan is empty. ``preparing``: its plan has begun, but its saver has published no progress.
        ``incomplete``: its deletion was interrupted; without a plan it cannot be resumed.
        """
        if self.finished:
            return ProgressPhase.DONE
        if self.topics.plan not in self.existing:
            return "incomplete"
        if self.progress is not None:
            return self.progress.phase
        return "preparing" if self.begun else "pending"

    @property
    def finished(self) -> bool:
        """Whether its files are written."""
        return self.progress is not None and self.progress.phase is ProgressPhase.DONE

    @property
    def deletion(self) -> tuple[str, ...]:
        """All its topics, in the order in which they are deleted."""
        return self.topics.deletion({*self.existing, *self.metadata})

    @property
    def resumable(self) -> bool:
        """Whether its deletion would lose work."""
        return self.phase not in {ProgressPhase.DONE, "incomplete"}


def group_by_scan(topics: Iterable[str], bases: TopicBases) -> dict[str, frozenset[str]]:
    """Group topics by their scan; other topics are left out.

    The name of a scan may end like the name of a topic: ``a-plan`` is a topic of scan ``a``, and ``a-plan-plan`` is one
    of scan ``a-plan``.
    """
    shapes = _shapes(bases)
    found: dict[str, set[str]] = {}
    for topic in topics:
        names = [
            topic[len(before) : -len(after)]
            for before, after in shapes
            if topic.startswith(before) and topic.endswith(after) and len(topic) > len(before) + len(after)
        ]
        name = min(names, key=len, default="")
        if _is_name(name):
            found.setdefault(name, set()).add(topic)
    return {name: frozenset(found[name]) for name in sorted(found)}


def _shapes(bases: TopicBases) -> list[tuple[str, str]]:
    """Return the texts before and after the scan's name in each of its topics."""
    parts = (topic.rpartition("/") for topic in ScanTopics.of("x", bases).all())
    return [(f"{namespace}/", last.removeprefix("x")) for namespace, _, last in parts]


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name))
    except InputError:
        return False


def find_scans(broker: Broker, bases: TopicBases) -> dict[str, frozenset[str]]:
    """Return the topics of every scan on the broker, by the name of the scan."""
    namespaces = sorted({before for before, _ in _shapes(bases)})
    return group_by_scan((topic for namespace in namespaces for topic in broker.topics(namespace)), bases)


def describe_scan(broker: Broker, name: str, existing: frozenset[str], bases: TopicBases) -> FoundScan:
    """Read the plan, progress and backlog of a scan."""
    topics = ScanTopics.of(name, bases)
    return FoundScan(
        name,
        topics,
        existing,
        metadata=topics.frames(broker.topics(topics.metadata)),
        begun=topics.plan in existing and _has_message(broker, topics.plan),
        progress=read_progress(broker, topics.progress) if topics.progress in existing else None,
        backlog=_backlog(broker, topics.to_be_scanned) if topics.to_be_scanned in existing else None,
    )


def _has_message(broker: Broker, topic: str) -> bool:
    with broker.reader(topic) as reader:
        return reader.receive(0) is not None


def delete_scan(broker: Broker, name: str, bases: TopicBases | None = None) -> tuple[str, ...]:
    """Delete a scan, finished or not, with the frames of its event; return the topics that were deleted."""
    bases = bases or TopicBases()
    existing = find_scans(broker, bases).get(name)
    if existing is None:
        return ()
    topics = ScanTopics.of(name, bases)
    doomed = topics.deletion({*existing, *broker.topics(topics.metadata)})
    for topic in doomed:
        broker.delete_topic(topic)
    return doomed


def latest_progress(reader: Reader, timeout: float) -> Progress | None:
    """Return the latest new snapshot, or None if none arrives within ``timeout`` seconds.

    Invalid messages, as of another version or another program, are ignored with a warning.
    """
    latest, invalid = None, list[str]()
    for message in arrived(reader, timeout):
        try:
            latest = decode_progress(message.payload)
        except ValueError as error:
            invalid.append(str(error))
    if invalid:
        log.warning("ignored %d messages on the progress topic: %s", len(invalid), invalid[0])
    return latest


def read_progress(broker: Broker, topic: str) -> Progress | None:
    """Return the latest snapshot on a progress topic; None if there is none."""
    with broker.reader(topic) as reader:
        return latest_progress(reader, 0)


def _backlog(broker: Broker, topic: str) -> Backlog | None:
    try:
        return broker.backlog(topic, WORKERS_SUBSCRIPTION)
    except BrokerUnavailable:
        raise
    except BrokerError:  # no subscription: no worker has joined yet
        return None
