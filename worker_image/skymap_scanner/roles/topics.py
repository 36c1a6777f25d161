"""Creating the topics of a scan, and storing the event's frames in the metadata topics that scans share."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from skymap_api.names import ScanTopics, check_scan_name
from skymap_scanner.broker.protocol import Broker, Outgoing, Reader
from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.i3 import Frame

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
    try:
        return check_scan_name(name)
    except ValueError as error:
        raise InputError(str(error)) from error


def create_topics(broker: Broker, topics: ScanTopics) -> None:
    """Create topics and subscriptions before anything is published, so that no message is lost."""
    for topic in topics.all():
        broker.create_topic(topic, topics.subscriptions(topic))
    broker.prepare(topics.metadata)


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
