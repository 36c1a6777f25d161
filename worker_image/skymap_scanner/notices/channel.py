"""The interface of channels, and the two ways in which an attempt fails."""

from __future__ import annotations

from typing import Protocol

from skymap_scanner.notices.outbox import Entry


class NotDelivered(Exception):  # noqa: N818 - a temporary state, not a mistake
    """An attempt failed and may be repeated; ``wait``: seconds that the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Undeliverable(Exception):  # noqa: N818 - the answer of the destination
    """The destination rejected the notice; another attempt would fail, too."""


class Channel(Protocol):
    """Sends documents to one destination."""

    def send(self, entry: Entry, seconds: float) -> None:
        """Send a document within so many seconds; ``entry.attempts`` counts this attempt.

        Raises NotDelivered or Undeliverable. Neither has a secret in its message.
        """
