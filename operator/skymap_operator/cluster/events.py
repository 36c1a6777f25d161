"""Kubernetes Events: how the operator writes them, and what it keeps of those that it reads."""

from __future__ import annotations

import hashlib
from datetime import datetime

from skymap_api.resource.base import Manifest
from skymap_api.text import printable

#: The operator's name as field manager and as the source of Events.
MANAGER = "skymap-operator"

#: Longest message that the API server accepts in an Event.
LONGEST_MESSAGE = 1024

_KEPT = ("involvedObject", "reason", "message", "series", "lastTimestamp", "eventTime")


def event_about(about: Manifest, kind: str, reason: str, message: str, now: datetime) -> Manifest:
    """Return an Event about an object, with escapes for control characters in its message.

    Its name depends on its content, so an equal Event gets the same name.
    """
    meta, message = about["metadata"], printable(message)
    digest = hashlib.sha256(f"{meta['uid']}\n{reason}\n{message}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    subject = {key: about[key] for key in ("apiVersion", "kind")}
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[: LONGEST_MESSAGE - 1]}…"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name'][:230].rstrip('-.')}.{digest}", "namespace": meta["namespace"]},
        "involvedObject": subject | {key: meta[key] for key in ("name", "namespace", "uid")},
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": MANAGER},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def trimmed_event(event: Manifest) -> Manifest:
    """Return the fields of an Event that the operator reads, the message with the length that it reads at most."""
    kept = {key: event[key] for key in _KEPT if key in event}
    return kept | {"message": (event.get("message") or "")[: 4 * LONGEST_MESSAGE]}
