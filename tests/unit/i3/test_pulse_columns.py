"""Pulses: unpacking I3SuperDST, masks of masks, and all that may not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import (
    PULSE_DTYPE,
    BitMask,
    Frame,
    I3Double,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3SuperDST,
    OMKey,
    Pulses,
    pulse_columns,
    resolve_pulses,
    superdst,
)
from skymap_scanner.i3.superdst import unpack

ONE, TWO = OMKey(21, 30), OMKey(22, 5)


def series(*rows: tuple[float, float, float, int]) -> np.ndarray:
    return np.array(list(rows), PULSE_DTYPE)


def bits(*values: int) -> BitMask:
    return BitMask.of(np.array(values, bool))


def frames() -> tuple[Frame, Frame]:
    """A Q frame with pulses and a P frame with a mask of a mask of them."""
    daq, physics = Frame("Q"), Frame("P")
    daq["Pulses"] = I3RecoPulseSeriesMap(
        {TWO: series((5, 0.5, 1, 1), (7, 0.75, 1, 4)), ONE: series((3, 1, 2, 7), (1, 2, 2, 7), (2, 3, 2, 7))}
    )
    daq["Mask"] = I3RecoPulseSeriesMapMask("Pulses", bits(1, 1), (bits(1, 0, 1), bits(0, 1)))
    physics["Split"] = I3RecoPulseSeriesMapMask("Mask", bits(0, 1), (bits(1),))
    return daq, physics


def test_pulses_are_columns_sorted_by_dom_and_time() -> None:
    daq, _ = frames()
    pulses = resolve_pulses("Pulses", daq)
    assert pulses.string.tolist() == [21, 21, 21, 22, 22]
    assert pulses.om.tolist() == [30, 30, 30, 5, 5]
    assert pulses.time.tolist() == [1, 2, 3, 5, 7]
    assert pulses.charge.tolist() == [2, 3, 1, 0.5, 0.75]
    assert [column.dtype.str for column in (pulses.string, pulses.om, pulses.pmt, pulses.time, pulses.width)] == [
        "<i2", "<i2", "|u1", "<f8", "<f4",
    ]  # fmt: skip
    assert list(pulses.doms()) == [(ONE, slice(0, 3)), (TWO, slice(3, 5))]


def test_masks_are_applied_to_their_series() -> None:
    daq, physics = frames()
    assert resolve_pulses("Mask", [physics, daq]).time.tolist() == [2, 3, 7]
    assert resolve_pulses("Split", [physics, daq]).time.tolist() == [7]
    assert resolve_pulses("Split", {"Q": daq, "P": physics}).string.tolist() == [22]


def test_pulses_are_read_from_the_nearest_frame() -> None:
    daq, physics = frames()
    physics["Pulses"] = I3RecoPulseSeriesMap({ONE: series((9, 1, 1, 1))})
    assert len(resolve_pulses("Pulses", [physics, daq])) == 1
    assert len(resolve_pulses("Pulses", {"Q": daq, "P": physics})) == 1
    assert len(resolve_pulses("Pulses", [daq, physics])) == 5


def test_dom_without_selected_pulses_needs_no_bits() -> None:
    daq, physics = frames()
    daq["Mask"] = I3RecoPulseSeriesMapMask("Pulses", bits(1, 1), (bits(0, 0, 0), bits(1, 1)))
    physics["Split"] = I3RecoPulseSeriesMapMask("Mask", bits(1), (bits(0, 1),))
    assert resolve_pulses("Split", [physics, daq]).time.tolist() == [7]


def test_empty_pulse_series_is_valid() -> None:
    daq = Frame("Q")
    daq["Pulses"] = I3RecoPulseSeriesMap({ONE: series()})
    pulses = resolve_pulses("Pulses", daq)
    assert len(pulses) == 0
    assert list(pulses.doms()) == []
    assert len(resolve_pulses("Pulses", daq).select(np.zeros(0, bool))) == 0


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            ("None", bits(1), (bits(1),)),
            "key 'None': there are no such pulses, of which 'Bad' is made, in the",
        ),
        (("Bad", bits(1), ()), "key 'Bad': the pulses are made, in the end, of themselves: 'Bad' of 'Bad'"),
        (("Number", bits(1), ()), "key 'Number': pulses, a map of pulses or an I3SuperDST expected, found I3Double"),
        (("Pulses", bits(1), (bits(1),)), "key 'Bad': the mask was made for 1 DOMs, what it chooses from has 2"),
        (("Pulses", bits(1, 1), (bits(1),)), "key 'Bad': the mask chooses 2 DOMs and has bits for 1"),
        (
            ("Pulses", bits(0, 1), (bits(1, 1, 1),)),
            r"key 'Bad': the mask was made for 3 pulses in \(22, 5, 0\), .* has 2",
        ),
    ],
)
def test_mask_that_does_not_match_its_series_is_named(
    mask: tuple[str, BitMask, tuple[BitMask, ...]], message: str
) -> None:
    daq, physics = frames()
    daq["Number"] = I3Double(1.0)
    physics["Bad"] = I3RecoPulseSeriesMapMask(*mask)
    with pytest.raises(I3Error, match=message):
        resolve_pulses("Bad", [physics, daq])


def test_masks_in_a_circle_are_named() -> None:
    frame = Frame("P")
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        frame[one] = I3RecoPulseSeriesMapMask(other, bits(1), ())
    with pytest.raises(I3Error, match="of themselves: 'a' of 'b' of 'c' of 'a'"):
        resolve_pulses("a", frame)


def test_missing_pulses_are_reported_with_existing_series() -> None:
    with pytest.raises(I3Error, match="key 'Hits': there are no such pulses in the frames; there are 'Pulses'"):
        resolve_pulses("Hits", frames()[0])


def test_invalid_dom_is_rejected() -> None:
    with pytest.raises(I3Error, match=r"pulses in \(40000, 1, 0\): no detector has such a DOM"):
        Pulses.from_series({OMKey(40000, 1): series((1, 1, 1, 1))})


def test_doms_without_pulses_count_as_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_columns, "MAX_PULSES", 3)
    assert len(Pulses.from_series({ONE: series((1, 1, 1, 1), (2, 1, 1, 1)), TWO: series()})) == 2
    with pytest.raises(I3Error, match="4 pulses, more than the 3 that an event may have"):
        Pulses.from_series({OMKey(1, om): series() for om in range(1, 5)})


@given(st.lists(st.booleans(), max_size=40))
def test_masks_pack_and_unpack(values: list[bool]) -> None:
    mask = BitMask.of(np.array(values, bool))
    assert len(mask) == len(values)
    assert mask.to_array().tolist() == values
    assert mask.padding < 8


# --- I3SuperDST -------------------------------------------------------------------------------------------------------


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


def stamp(time: int, charge: int, *, hlc: bool = False, stop: bool = True) -> int:
    return time | charge << 8 | hlc << 14 | stop << 15


def header(string: int, om: int, slop: int = 0) -> int:
    return string << 6 | om - 1 | slop << 13


def runs(*codes: int) -> bytes:
    """One run of length 1 for each code; codes that follow each other differ."""
    return bytes(code | 0x10 for code in codes)


def test_example_of_icetray_is_unpacked() -> None:
    packed = I3SuperDST(
        bytes.fromhex("ff59112114ca648f"), bytes.fromhex("5de58405"), (b"\x13", b"\x13\x11", b"", b""), b""
    )
    pulses = unpack(packed)
    assert list(pulses) == [ONE, TWO]
    assert pulses[ONE].tolist() == series((10000, 1.275, 8, 7), (10020, 0.525, 2, 7)).tolist()
    assert pulses[TWO].tolist() == series((10100, 0.775, 8, 4)).tolist()


def test_times_and_charges_overflow_into_whole_words() -> None:
    packed = I3SuperDST(
        words(stamp(255, 63, stop=False), 0xFFFF, 10, 0xFFFF, 0xFFFF, 5, stamp(255, 0), 7),
        words(header(1, 1, slop=7)),
        (runs(0, 1), b"", b"", b""),
        b"",
    )
    first = -512 + 0x7FF + 0xFFFF + 10
    charge = np.float32((63 + 0xFFFF + 0xFFFF + 5) * 0.05 + 0.025)
    assert unpack(packed)[OMKey(1, 1)].tolist() == [
        (first, charge, 1.0, 4),
        (first + 255 + 7, np.float32(0.025), 2.0, 4),
    ]


def test_icetop_has_a_logarithmic_charge() -> None:
    packed = I3SuperDST(words(stamp(0, 5)), words(header(3, 61)), (b"", b"", runs(2), b""), b"\x02")
    ((time, charge, width, flags),) = unpack(packed)[OMKey(3, 61)].tolist()
    assert (time, width, flags) == (-512, 4, 4)
    assert charge == pytest.approx(10 ** ((5 + (2 << 6)) * 9 / 16383 - 2), rel=1e-6)


def test_long_runs_of_widths_add_up_low_bits_first() -> None:
    length = 0x123
    codes = bytes([3 | (length >> 4 * i & 0xF) << 4 for i in range(3)])
    stamps = [stamp(10, 1, stop=False)] * (length - 1) + [stamp(10, 1)]
    packed = I3SuperDST(words(*stamps), words(header(1, 1)), (codes, b"", b"", b""), b"")
    assert unpack(packed)[OMKey(1, 1)]["width"].tolist() == [8.0] * length


def pulses_at(*times: int, width: int = 3) -> list[tuple[float, ...]]:
    """Unpack pulses of one DOM at these times (each a readout of its own), each 2**width wide."""
    steps = [b - a for a, b in zip((-512, *times), times, strict=False)]
    packed = I3SuperDST(
        words(*(stamp(step & 0xFF, 1) for step in steps)),
        words(*(header(1, 1, slop=step >> 8) for step in steps)),
        (bytes([width | len(times) << 4]), b"", b"", b""),
        b"",
    )
    return [(time, width) for time, _, width, _ in unpack(packed)[OMKey(1, 1)].tolist()]


def test_pulses_do_not_overlap() -> None:
    assert pulses_at(100, 103, 120) == [(100, 3), (103, 8), (120, 8)]


def test_two_pulses_at_one_time_share_its_width() -> None:
    """As I3SuperDST::Unpack: half the width each, the second begins where the first ends."""
    assert pulses_at(100, 100) == [(100, 4), (104, 4)]
    assert pulses_at(100, 100, 120) == [(100, 4), (104, 4), (120, 8)]
    assert pulses_at(90, 100, 100) == [(90, 4), (94, 4), (100, 8)]


def icetrays_loop(times: list[float], widths: list[float]) -> None:
    """I3SuperDST::Unpack's loop over the pulses of a DOM, with its iterators as indices."""
    prev, merge = None, False
    current = 0
    while current + 1 < len(times):
        widths[current] = float(np.float32(min(widths[current], times[current + 1] - times[current])))
        if widths[current] == 0 or merge:
            if prev is not None:
                if widths[prev] == 0 and widths[current] > 0:
                    widths[prev] = widths[current]
                widths[current] = widths[prev] / 2
                widths[prev] = widths[prev] / 2
                times[current] = times[prev] + widths[prev]
                merge = False
            else:
                merge = True
        else:
            merge = False
        prev = current
        current += 1
    if merge and prev is not None:
        if widths[prev] == 0 and widths[current] > 0:
            widths[prev] = widths[current]
        widths[current] = widths[prev] / 2
        widths[prev] = widths[prev] / 2
        times[current] = times[prev] + widths[prev]


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(0, 5))
def test_widths_are_as_icetray_shares_them(gaps: list[int], width: int) -> None:
    times = [float(time) for time in np.cumsum(gaps)]
    widths = [float(1 << width)] * len(times)
    got = pulses_at(*map(int, times), width=width)
    icetrays_loop(times, widths)
    assert got == list(zip(times, widths, strict=True))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (I3SuperDST(b"", words(1), (b"",) * 4, b""), "its charge stamps end before its readouts do"),
        (I3SuperDST(words(stamp(1, 1)), words(1), (b"",) * 4, b""), "its widths end before its readouts do"),
        (I3SuperDST(words(stamp(1, 1)), words(60), (b"", b"", runs(1), b""), b""), "its extra bytes end before"),
        (
            I3SuperDST(words(stamp(255, 1)), words(7 << 13), (b"\x11", b"", b"", b""), b""),
            "its charge stamps end before",
        ),
        (I3SuperDST(words(1), b"", (b"",) * 4, b""), "it has more charge stamps, widths or extra bytes than"),
        (
            I3SuperDST(b"", b"", (b"\xff" * 8, b"", b"", b""), b""),
            "it has more charge stamps, widths or extra bytes than",
        ),
        (I3SuperDST(b"", b"", (b"\xff" * 9, b"", b"", b""), b""), "a run of widths takes more than 8 bytes"),
    ],
)
def test_inconsistent_streams_are_rejected(packed: I3SuperDST, message: str) -> None:
    with pytest.raises(I3Error, match=message):
        unpack(packed)


def test_streams_longer_than_the_most_pulses_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(superdst, "MAX_PULSES", 2)
    two = words(*[stamp(1, 1)] * 2), words(*[header(1, 1)] * 2), (b"\x21", b"", b"", b""), b""
    assert len(unpack(I3SuperDST(*two))[OMKey(1, 1)]) == 2
    for longer in (
        I3SuperDST(words(1, 2, 3), *two[1:]),
        I3SuperDST(two[0], words(1, 2, 3), *two[2:]),
        I3SuperDST(*two[:2], (b"", b"", b"", b"123"), b""),
        I3SuperDST(*two[:3], b"123"),
    ):
        with pytest.raises(I3Error, match=r"more than the 2 pulses that an event may have \(3\)"):
            unpack(longer)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=10), st.tuples(*[st.binary(max_size=9)] * 4), st.binary(max_size=3))
def test_any_streams_are_pulses_or_one_error(
    stamps: bytes, headers: bytes, widths: tuple[bytes, bytes, bytes, bytes], extra: bytes
) -> None:
    packed = I3SuperDST(stamps[: len(stamps) & ~1], headers[: len(headers) & ~1], widths, extra)
    try:
        pulses = unpack(packed)
    except I3Error as error:
        assert "I3SuperDST is damaged" in str(error)  # noqa: PT017 - both outcomes are fine
        return
    assert sum(map(len, pulses.values())) <= len(stamps) // 2
