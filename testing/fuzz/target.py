"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skymap_scanner.errors import SkymapError


class WrongError(Exception):
    """Reading and writing disagree, or what was read is inconsistent."""


def require(right: bool, what: str = "") -> None:
    """Raise WrongError, which the fuzzer takes for a crash, unless ``right``."""
    if not right:
        raise WrongError(what)


@dataclass(frozen=True)
class Target:
    """One parser.

    ``check`` reads the bytes, and raises nothing but ``allowed`` whatever they are. ``seeds`` makes valid inputs;
    ``longest``: most bytes of an input.
    """

    name: str
    check: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    allowed: tuple[type[Exception], ...] = (SkymapError,)
    longest: int = 4096

    def run(self, data: bytes) -> bool:
        """Return whether an input was accepted; raises what must not escape."""
        try:
            self.check(data)
        except self.allowed:
            return False
        return True
