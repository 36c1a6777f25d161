"""Messages that are not what this scanner sends: passed over and counted, since one of them must not end a scan."""

from __future__ import annotations

import logging

from skymap_scanner.broker.protocol import Message

log = logging.getLogger(__name__)


class RejectedMessages:
    """The messages of one topic that were passed over. The first is a warning in the log, the others whisper."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.count = 0

    def add(self, message: Message, why: object) -> None:
        """Count a message, and say why it is passed over."""
        self.count += 1
        level = logging.WARNING if self.count == 1 else logging.DEBUG
        log.log(level, "a message (key %s) on %s is passed over: %s", message.key, self._topic, why)
