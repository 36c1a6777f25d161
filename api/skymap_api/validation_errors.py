"""What is wrong with a document, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def describe_errors(error: ValidationError, most: int = 5) -> str:
    """Describe the first errors in one line, with their places as the API server writes them: ``levels[0].nside``."""
    return "; ".join(f"{_place(one['loc'])}{one['msg'].removeprefix('Value error, ')}" for one in error.errors()[:most])


def _place(location: tuple[str | int, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{''.join(parts).lstrip('.')}: " if location else ""
