"""URLs of brokers."""

from __future__ import annotations

from pathlib import Path

from skymap_scanner.errors import InputError

_EMBEDDED = "sqlite:///"


def is_embedded(url: str) -> bool:
    """Return whether the URL names an embedded broker: a file on this machine."""
    return url.lower().startswith("sqlite:")


def embedded_url(path: Path) -> str:
    """Return the URL of the embedded broker in the file at ``path``."""
    return f"{_EMBEDDED}{path.absolute()}"


def path_of_url(url: str) -> Path:
    """Return the path in ``sqlite:///PATH``, taken literally, as SQLAlchemy does.

    Raises
    ------
    InputError
        If the URL names no file.
    """
    path = url.removeprefix(_EMBEDDED)
    if path == url or path in {"", ":memory:"} or "\0" in path:
        raise InputError(f"broker {url!r}: write sqlite:///PATH for a file (four slashes: an absolute path)")
    return Path(path)
