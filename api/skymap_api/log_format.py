"""The form of log records, the same for scanner and operator."""

from __future__ import annotations

import logging

from skymap_api.text import printable

#: How each record begins.
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class SafeFormatter(logging.Formatter):
    """Escapes control characters and indents continuation lines, so that no message can look like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return printable(super().format(record)).replace("\n", "\n    ")


def safe_handler() -> logging.Handler:
    """Return a handler that writes records of this form to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(FORMAT))
    return handler
