"""Which topics are deleted with a scan.

Scans of one event share its metadata topics, one a frame. Such a topic may be deleted when no other scan's plan names
it. A plan names them in its first entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from skymap_api.names import ScanTopics


@dataclass(frozen=True, slots=True)
class Deletion:
    """The topics to delete, in this order.

    ``kept``: the metadata topics that stay because another scan uses them, or may.
    """

    topics: tuple[str, ...]
    kept: tuple[str, ...] = ()


class _Event(BaseModel):
    metadata_topics: tuple[str, ...]


class _FirstEntry(BaseModel):
    event: _Event


def named_topics(first_entry: bytes | None) -> tuple[str, ...] | None:
    """Return the metadata topics that a plan names: none before its first entry, None if the entry is unreadable."""
    if first_entry is None:
        return ()
    try:
        return _FirstEntry.model_validate_json(first_entry).event.metadata_topics
    except ValidationError:
        return None


def topics_in_use(plans: Iterable[Collection[str] | None]) -> frozenset[str] | None:
    """Return the metadata topics that other scans' plans name; None if one is unreadable, since it may name any."""
    used: set[str] = set()
    for named in plans:
        if named is None:
            return None
        used.update(named)
    return frozenset(used)


def decide_deletion(
    topics: ScanTopics, existing: Collection[str], named: Iterable[str], in_use: Collection[str] | None
) -> Deletion:
    """Decide which topics are deleted with a scan.

    Plan and progress come last, so that an interrupted deletion can be completed. A metadata topic outside the scan's
    prefix is never deleted, whatever its plan names.

    ``topics``: the scan's own. ``named``: the metadata topics that its plan names. ``in_use``: those that other scans
    use, None if that is unknown; see `topics_in_use`.
    """
    own = [topic for topic in topics.all() if topic in existing]
    last = [topic for topic in own if topic in {topics.plan, topics.progress}]
    shared = [topic for topic in dict.fromkeys(named) if topic in existing and topic not in own]
    free = [
        topic for topic in shared if in_use is not None and topic not in in_use and topic.startswith(topics.metadata)
    ]
    first = [topic for topic in own if topic not in last]
    return Deletion((*first, *free, *last), tuple(topic for topic in shared if topic not in free))
