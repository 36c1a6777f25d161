"""Creating the topics of a scan, and storing the event's frames in its metadata topics."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from contextlib import suppress

from skymap_api.names import ScanTopics, check_scan_name
from skymap_scanner.broker.protocol import Broker, Outgoing, Reader, arrived
from skymap_scanner.errors import BrokerDenied, BrokerError, InputError
from skymap_scanner.i3 import Frame

#: Message property with the metadata topics of a task, separated by ``;``.
METADATA_PROPERTY = "metadata_topics"
#: Message properties with the reconstruction of a task: its name and its parameters (JSON).
RECONSTRUCTION_PROPERTY = "reconstruction"
PARAMETERS_PROPERTY = "reconstruction_parameters"
#: Message property with the software that must fit a task: `reconstruction.software_of`.
SOFTWARE_PROPERTY = "software"
#: Message property with the seed of a task or a fit.
SEED_PROPERTY = "seed"


def check_name(name: str) -> str:
    """Return the scan's name if topics and files can be named after it; raises InputError if not."""
    try:
        return check_scan_name(name)
    except ValueError as error:
        raise InputError(str(error)) from error


def create_topics(broker: Broker, topics: ScanTopics) -> None:
    """Create topics and subscriptions before anything is published, so that no message is lost."""
    for topic in topics.all():
        broker.create_topic(topic, topics.subscriptions(topic))
    broker.create_namespace(topics.metadata)


def ensure_topics(broker: Broker, topics: ScanTopics) -> None:
    """Create what is missing, as far as this role may.

    A role with a token of its own may not even look up every topic. Whoever gave it the token has created them.
    """
    for topic in topics.all():
        with suppress(BrokerDenied):
            broker.create_topic(topic, topics.subscriptions(topic))
    broker.create_namespace(topics.metadata)


def publish_metadata(broker: Broker, topics: ScanTopics, frames: Sequence[Frame]) -> tuple[str, ...]:
    """Store each frame once, in a topic named by its checksum; return the names of the topics in the same order.

    If two producers of the scan publish at the same time, a frame is stored twice, which has no effect.
    """
    names = []
    for frame in frames:
        payload = frame.to_bytes()
        name = topics.metadata + hashlib.sha256(payload).hexdigest()
        with broker.reader(name) as reader:  # creates the topic
            stored = _matching(reader, name, timeout=0) is not None
        if not stored:
            # A unique name, since a broker may refuse a second producer of the same name.
            with broker.producer(name, f"metadata-{uuid.uuid4()}") as producer:
                producer.send(Outgoing(payload))
        names.append(name)
    return tuple(names)


def read_metadata(broker: Broker, name: str, timeout: float = 30.0) -> Frame:
    """Read the frame of one metadata topic.

    Raises BrokerError if the topic is missing, stays empty, or holds no frame with the checksum in its name.
    """
    with broker.reader(name, create=False) as reader:
        payload = _matching(reader, name, timeout)
    if payload is None:
        raise BrokerError(f"{name} holds no frame with the checksum in its name: was the scan's metadata deleted?")
    return Frame.from_bytes(payload)


def _matching(reader: Reader, name: str, timeout: float) -> bytes | None:
    """Return the first message with the checksum in the topic's name, or None if none arrives in time."""
    for message in arrived(reader, timeout):
        if name.endswith(hashlib.sha256(message.payload).hexdigest()):
            return message.payload
    return None
