"""What each role of a scan may do in Pulsar: the least that it needs.

The operator grants it where it gives every role a token of its own. Who takes over one role of a scan then can neither
use another scan's topics nor do what other roles do.
"""

from __future__ import annotations

from typing import Literal

from skymap_api.names import COLLECTOR, PRODUCER, SAVER, WORKER, ScanTopics

Action = Literal["produce", "consume"]
_PRODUCE: tuple[Action, ...] = ("produce",)
_CONSUME: tuple[Action, ...] = ("consume",)
_BOTH: tuple[Action, ...] = ("produce", "consume")


def topic_permissions(topics: ScanTopics) -> dict[str, dict[str, tuple[Action, ...]]]:
    """Return what the roles may do on the topics of their scan, by topic and role."""
    return {
        topics.to_be_scanned: {PRODUCER: _PRODUCE, COLLECTOR: _PRODUCE, WORKER: _CONSUME},
        topics.scanned: {WORKER: _PRODUCE, COLLECTOR: _BOTH},
        topics.collected: {COLLECTOR: _BOTH, PRODUCER: _CONSUME, SAVER: _CONSUME},
        topics.crash_reports: {WORKER: _BOTH},
        topics.plan: {PRODUCER: _BOTH, COLLECTOR: _CONSUME, SAVER: _CONSUME, WORKER: _CONSUME},
        topics.progress: {SAVER: _BOTH},
    }


#: What they may do in the Pulsar namespace with the frames of events. A topic there is named after its content, so
#: permissions cannot be granted on it before it exists.
METADATA_PERMISSIONS: dict[str, tuple[Action, ...]] = {
    PRODUCER: _BOTH,
    COLLECTOR: _CONSUME,
    SAVER: _CONSUME,
    WORKER: _CONSUME,
}

#: What the page of a cluster may do in the Pulsar namespaces of all its scans. Pulsar knows no smaller right to read.
PAGE_PERMISSIONS = _CONSUME
