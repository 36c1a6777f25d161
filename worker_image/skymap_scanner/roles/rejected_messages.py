"""Messages that this scanner did not send: skipped and counted, since one of them must not end a scan."""

from __future__ import annotations

import logging

from skymap_scanner.broker.protocol import Message

log = logging.getLogger(__name__)


class RejectedMessages:
    """Counts the rejected messages of one topic; the first is logged as a warning, the others at debug level."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.count = 0

    def add(self, message: Message, reason: object) -> None:
        """Count and log a rejected message."""
        self.count += 1
        level = logging.WARNING if self.count == 1 else logging.DEBUG
        log.log(level, "rejected a message (key %s) on %s: %s", message.key, self._topic, reason)
