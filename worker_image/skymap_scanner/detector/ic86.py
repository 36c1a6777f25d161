"""IceCube-86: the 5,160 in-ice DOMs, as IceCube has published them.

``ic86.txt`` beside this module holds the facts in compact form. The DOMs of a string hang at even spacing below the
first one, apart from the shifts that the table lists; rounded to 0.01 m, as IceCube publishes them, the positions are
the published ones. Dark rates are rounded to 12 Hz (at most 6 Hz, or 1.7 %, from the published value): far less than
a rate changes over the years, and noise enters the likelihood as rate times the length of a time bin only.

Source: IceCube's public geometry and calibration as distributed with retro (https://github.com/icecubeopensource/retro,
Apache-2.0); positions compared with the geometry that IceTray's public release contains.
"""

from __future__ import annotations

import string as characters
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry

STRINGS = 86
OMS = 60  # in the ice; 61-64 are IceTop

#: Strings of DeepCore: dense, and with high quantum efficiency.
DEEPCORE = range(79, 87)

#: Vertical spacing of the DOMs, m: of a standard string, of DeepCore's 10 upper DOMs, and of its 50 lower ones. The
#: values that leave the fewest shifts in the table.
SPACING = 17.02075
DEEPCORE_VETO_SPACING = 10.0123
DEEPCORE_SPACING = 7.00855

#: Light yield of a DOM with high quantum efficiency against a standard one (arXiv:1109.6096, section 3).
HIGH_EFFICIENCY = 1.35

_RATE_CODE = characters.digits + characters.ascii_uppercase + characters.ascii_lowercase
_RATE_FIRST, _RATE_STEP = 350.0, 12.0  # Hz
_RATE_LOW = 1.2  # Hz, of six DOMs that hardly count
_DEAD, _NO_RATE, _LOW = ".:-"


@cache
def ic86() -> Geometry:
    """Return the in-ice geometry of IceCube-86: 86 strings of 60 DOMs."""
    sections = _sections(files(__package__).joinpath("ic86.txt").read_text("ascii"))
    position = np.empty((STRINGS, OMS, 3))
    for line in sections["strings"]:
        number, x, y, z, *shifts = line.split()
        depths = float(z) - SPACING * np.arange(OMS)
        position[int(number) - 1] = _hang(float(x), float(y), depths, shifts)
    for line in sections["deepcore"]:
        number, x, y, z, z_main, *shifts = line.split()
        veto = float(z) - DEEPCORE_VETO_SPACING * np.arange(10)
        main = float(z_main) - DEEPCORE_SPACING * np.arange(OMS - 10)
        position[int(number) - 1] = _hang(float(x), float(y), np.concatenate([veto, main]), shifts)
    for line in sections["tilt"]:
        number, first, *pairs = line.split()
        for om, pair in enumerate(pairs, start=int(first)):
            position[int(number) - 1, om - 1, :2] += [float(centimetres) / 100 for centimetres in pair.split(",")]

    efficiency = np.ones((STRINGS, OMS))
    for line in sections["high_efficiency"]:
        number, *ranges = line.split()
        for oms in ranges:
            efficiency[int(number) - 1, _oms(oms)] = HIGH_EFFICIENCY
    noise = np.empty((STRINGS, OMS))
    for line in sections["dark_rate"]:
        number, letters = line.split()
        noise[int(number) - 1] = [_rate(letter) for letter in letters]
        efficiency[int(number) - 1, [letter == _DEAD for letter in letters]] = 0.0

    return Geometry(
        string=np.repeat(np.arange(1, STRINGS + 1, dtype=np.int16), OMS),
        om=np.tile(np.arange(1, OMS + 1, dtype=np.int16), STRINGS),
        position=np.round(position, 2).reshape(-1, 3),
        efficiency=efficiency.ravel(),
        noise=noise.ravel(),
    )


def _sections(text: str) -> dict[str, list[str]]:
    """Split the table: a line of one word begins the section of that name; '#' begins a comment."""
    sections: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.strip().isidentifier():
            rows = sections.setdefault(line.strip(), [])
        else:
            rows.append(line)
    return sections


def _hang(x: float, y: float, z: NDArray[np.floating], shifts: list[str]) -> NDArray[np.float64]:
    """Return the positions (60, 3) of a vertical string after its shifts, each ``oms:metres``."""
    for shift in shifts:
        oms, _, metres = shift.partition(":")
        z[_oms(oms)] += float(metres)
    return np.column_stack([np.full(OMS, x), np.full(OMS, y), z])


def _oms(text: str) -> slice:
    """Return the slice that ``7``, ``7-9`` or ``even`` stands for."""
    if text == "even":
        return slice(1, OMS, 2)
    first, _, last = text.partition("-")
    return slice(int(first) - 1, int(last or first))


def _rate(letter: str) -> float:
    if letter in (_DEAD, _NO_RATE):
        return 0.0
    if letter == _LOW:
        return _RATE_LOW
    return _RATE_FIRST + _RATE_STEP * _RATE_CODE.index(letter)
