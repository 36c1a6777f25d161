"""A witness of a broker: one producer of numbered messages, which notes what the broker has acknowledged.

`check_log` is pure: it compares the notes with what the topic holds at the end, as Jepsen does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Log:
    """What one producer of numbered messages knows: ``attempted`` sends in order, and which returned (``stored``).

    ``waited``: the longest time until a send returned (s).
    """

    attempted: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    waited: float = 0.0


def check_log(log: Log, read: Sequence[int]) -> list[str]:
    """Return what is wrong with the messages that were ``read`` from the topic of one producer at the end.

    Each acknowledged message is there once, in the order of the sends; one whose send did not return may be there.
    """
    times: Mapping[int, int] = Counter(read)
    wrong = [f"message {number} was acknowledged and is lost" for number in log.stored if number not in times]
    wrong += [f"message {number} is stored {count} times" for number, count in times.items() if count > 1]
    attempted = set(log.attempted)
    wrong += [f"message {number} was never sent" for number in times if number not in attempted]
    wrong += [f"message {b} is stored after {a}" for a, b in pairwise(read) if b < a]
    return wrong
