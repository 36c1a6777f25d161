"""Find an object in the frames of an event: the latest stop that has the key wins, as in IceTray's frame mixing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import Frame

#: The stops of an event, in the order of a file.
STOPS = "GCDQP"

_T = TypeVar("_T")


def nearest_first(frames: Mapping[str, Frame]) -> list[Frame]:
    """Return the frames in the order of the search: P Q D C G."""
    return [frames[stop] for stop in reversed(STOPS) if stop in frames]


def find(frames: Mapping[str, Frame], key: str, kind: type[_T]) -> _T | None:
    """Return the object under ``key``, or None when no frame has that key.

    Raises I3Error when the object is damaged, or of another class than ``kind``.
    """
    for frame in nearest_first(frames):
        if key in frame:
            return frame.expect(key, kind)
    return None


def find_one(frames: Mapping[str, Frame], key: str, kind: type[_T]) -> _T:
    """Return the object under ``key``, which must exist; raises I3Error as ``find`` does, and where it is missing."""
    found = find(frames, key, kind)
    if found is None:
        stops = " ".join(stop for stop in STOPS if stop in frames)
        raise I3Error(f"none of the frames {stops} has this {kind.__name__}", key=key)
    return found
