"""Digitised waveforms as IceCube compresses them: differences of few bits (I3DeltaCompression::DeltaCompressor).

A difference takes the bits of the present width, the lowest first; a width's smallest number means that the next wider
one follows. After a difference that would have fitted a narrower width, the next has that width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import I3Error

#: Most samples of a waveform, of which real ones have 256, and of all waveforms of an object: zeros are 32 in a word.
MAX_SAMPLES: Final = 1 << 16
MAX_OBJECT_SAMPLES: Final = 1 << 25
#: The widths of a difference (bits), and which comes first.
_WIDTHS: Final = (1, 2, 3, 6, 11, 20, 31)
_FIRST: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class DeltaCompressed:
    """A waveform as it lies in a file: ``words`` (uint32) of the stream of bits, which hold ``samples`` numbers."""

    words: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    samples: int = 0

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DeltaCompressed)
            and self.samples == other.samples
            and np.array_equal(self.words, other.words)
        )

    def __hash__(self) -> int:
        return hash((self.samples, np.asarray(self.words).tobytes()))

    @classmethod
    def of(cls, samples: Iterable[int]) -> Self:
        """Compress numbers; raises ValueError where two that follow each other differ by 2**30 or more."""
        words: list[int] = []
        pending = bits = last = count = 0
        level = _FIRST
        for sample in samples:
            numbers, level = _encoded(int(sample) - last, level)
            for number, size in numbers:
                pending |= (number & (1 << size) - 1) << bits
                bits += size
                if bits >= 32:
                    words.append(pending & 0xFFFFFFFF)
                    pending >>= 32
                    bits -= 32
            last = int(sample)
            count += 1
        if bits:
            words.append(pending)
        return cls(np.array(words, np.uint32), count)

    def to_array(self) -> NDArray[np.int32]:
        """Return the numbers, shape (samples,); raises I3Error when the words hold fewer."""
        numbers: list[int] = []
        for difference in self._differences():
            if len(numbers) == self.samples:
                break
            numbers.append(difference)
        if len(numbers) < self.samples:
            raise I3Error(f"a waveform of {self.samples} samples, but its words hold only {len(numbers)}")
        return np.cumsum(numbers, dtype=np.int64).astype(np.int32)  # wraps as C++ does

    def _differences(self) -> Iterator[int]:
        words = iter(np.asarray(self.words).tolist())
        pending = bits = 0
        level = _FIRST
        while True:
            width = _WIDTHS[level]
            if bits < width:
                word = next(words, None)
                if word is None:
                    return
                pending |= word << bits
                bits += 32
            number = pending & (1 << width) - 1
            pending >>= width
            bits -= width
            sign = 1 << (width - 1)
            if number == sign:
                level += 1
                if level == len(_WIDTHS):
                    raise I3Error("a waveform is damaged: there is no wider difference")
                continue
            difference = number - (number & sign) * 2
            yield difference
            level = _next_level(difference, level)


def _encoded(difference: int, level: int) -> tuple[list[tuple[int, int]], int]:
    """Return the (number, bits) that write a difference from a level of width on, and the level for the next."""
    fields = []
    while abs(difference) >= 1 << (_WIDTHS[level] - 1):
        fields.append((1 << (_WIDTHS[level] - 1), _WIDTHS[level]))
        level += 1
        if level == len(_WIDTHS):
            raise ValueError(f"a waveform cannot change by {difference} from one sample to the next")
    fields.append((difference, _WIDTHS[level]))
    return fields, _next_level(difference, level)


def _next_level(difference: int, level: int) -> int:
    narrower = max(level - 1, 0)
    return narrower if abs(difference) < 1 << (_WIDTHS[narrower] - 1) else level
