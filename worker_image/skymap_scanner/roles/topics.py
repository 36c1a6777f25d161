"""The topics of one scan, and the subscriptions that the roles take messages through."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from skymap_scanner.broker.protocol import Broker, Outgoing, Reader
from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.i3 import Frame

TENANT = "icecube"
WORKERS = "workers"
COLLECTOR = "collector"

#: The message property that lists the metadata topics of a task, ``;``-separated.
METADATA_PROPERTY = "metadata_topics"
#: The message properties that say which reconstruction fits a task: its name and its parameters (JSON).
RECONSTRUCTION_PROPERTY = "reconstruction"
PARAMETERS_PROPERTY = "reconstruction_parameters"
#: The message property that says which of its pixel's seeds a task, or the fit that answers it, is of.
SEED_PROPERTY = "seed"


def check_name(name: str) -> str:
    """Return the scan's name if topics and files can be named after it.

    Raises
    ------
    InputError
        If not.
    """
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?", name):
        raise InputError(
            f"scan name {name!r}: use at most 200 letters, digits, '.', '-' and '_', a letter or digit first and last"
        )
    return name


@dataclass(frozen=True, slots=True)
class TopicBases:
    """Where the topics live; the scan's name is put in front of the last part, so that scans run side by side."""

    to_be_scanned: str = f"persistent://{TENANT}/skymap/to_be_scanned"
    scanned: str = f"persistent://{TENANT}/skymap/scanned"
    collected: str = f"persistent://{TENANT}/skymap/collected"
    metadata: str = f"persistent://{TENANT}/skymap_metadata/mf_"


@dataclass(frozen=True, slots=True)
class ScanTopics:
    """The full names of one scan's topics."""

    to_be_scanned: str
    scanned: str
    collected: str
    plan: str
    progress: str
    deaths: str
    metadata: str

    @classmethod
    def of(cls, name: str, bases: TopicBases | None = None) -> ScanTopics:
        """Name the topics of the scan ``name``."""
        bases = bases or TopicBases()
        check_name(name)

        def topic(base: str) -> str:
            namespace, slash, last = base.rpartition("/")
            return f"{namespace}{slash}{name}-{last}"

        namespace = bases.to_be_scanned.rpartition("/")[0]
        return cls(
            to_be_scanned=topic(bases.to_be_scanned),
            scanned=topic(bases.scanned),
            collected=topic(bases.collected),
            plan=topic(f"{namespace}/plan"),
            progress=topic(f"{namespace}/progress"),
            deaths=topic(f"{namespace}/deaths"),
            metadata=bases.metadata,
        )

    def create(self, broker: Broker) -> None:
        """Make topics and subscriptions before anything is published, so that nothing published is lost."""
        broker.create_topic(self.to_be_scanned, [WORKERS])
        broker.create_topic(self.scanned, [COLLECTOR])
        broker.create_topic(self.collected)
        broker.create_topic(self.plan)
        broker.create_topic(self.progress)
        broker.create_topic(self.deaths)
        broker.prepare(self.metadata)


def publish_metadata(broker: Broker, topics: ScanTopics, frames: Sequence[Frame]) -> tuple[str, ...]:
    """Store each frame once, in a topic named by its content; return the topics' names in the order of ``frames``.

    Scans of the same event share these topics. Should two publish at the same moment, a frame is stored twice, which
    does no harm.
    """
    names = []
    for frame in frames:
        payload = frame.to_bytes()
        name = topics.metadata + hashlib.sha256(payload).hexdigest()
        with broker.reader(name) as reader:  # which makes the topic
            stored = _matching(reader, name, timeout=0) is not None
        if not stored:
            # A name of its own: a broker may refuse a second producer of the same name.
            with broker.producer(name, f"metadata-{uuid.uuid4()}") as producer:
                producer.send(Outgoing(payload))
        names.append(name)
    return tuple(names)


def read_metadata(broker: Broker, name: str, timeout: float = 30.0) -> Frame:
    """Read the frame of one metadata topic.

    Raises
    ------
    BrokerError
        If there is no such topic, or it stays empty, or holds nothing that is what its name says.
    """
    with broker.reader(name, make=False) as reader:
        payload = _matching(reader, name, timeout)
    if payload is None:
        raise BrokerError(f"{name} holds no frame with the checksum in its name: was the scan's metadata deleted?")
    return Frame.from_bytes(payload)


def _matching(reader: Reader, name: str, timeout: float) -> bytes | None:
    """Return the first message whose checksum stands in the topic's name, None if none comes in time."""
    message = reader.receive(timeout)
    while message is not None:
        if name.endswith(hashlib.sha256(message.payload).hexdigest()):
            return message.payload
        message = reader.receive(0)
    return None
