"""Maps of pulses that are made of others: unions, modules, corrected charges; and their limits."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import (
    PULSE_DTYPE,
    BitMask,
    Frame,
    I3Double,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3Time,
    OMKey,
    pulse_sources,
    python_class,
    resolve_pulses,
)
from skymap_scanner.i3.pulse_objects import ATWD, FADC

UNION = python_class("I3RecoPulseSeriesMapUnion")
BY_MODULE = python_class("I3RecoPulseSeriesMapCombineByModule")
CORRECTED = python_class("I3RecoPulseSeriesMapApplySPECorrection")
CALIBRATION = python_class("I3Calibration")


def series(*pulses: tuple[float, float, float, int]) -> Any:
    return np.array(list(pulses), PULSE_DTYPE)


def frame(**objects: Any) -> Frame:
    result = Frame("P")
    for key, value in objects.items():
        result[key] = value
    return result


ONE = I3RecoPulseSeriesMap({OMKey(1, 1): series((5, 1, 1, 7), (9, 2, 1, 7)), OMKey(2, 1): series((1, 3, 1, 4))})
OTHER = I3RecoPulseSeriesMap({OMKey(1, 1): series((7, 4, 1, 7), (9, 5, 1, 7)), OMKey(1, 1, 3): series((2, 6, 1, 4))})


def test_union_sorts_all_pulses_of_a_dom() -> None:
    pulses = resolve_pulses("Union", frame(One=ONE, Other=OTHER, Union=UNION(("One", "Other"))))
    assert pulses.time.tolist() == [5, 7, 9, 9, 2, 1]
    assert pulses.charge.tolist() == [1, 4, 2, 5, 6, 3]  # of one time: in the order of the keys
    assert pulses.pmt.tolist() == [0, 0, 0, 0, 3, 0]


def test_union_may_contain_masks_and_be_masked() -> None:
    some = I3RecoPulseSeriesMapMask("Other", BitMask.of(np.array([1, 0], bool)), (BitMask.of(np.array([0, 1], bool)),))
    last = I3RecoPulseSeriesMapMask(
        "Union", BitMask.of(np.array([1, 0], bool)), (BitMask.of(np.array([0, 1, 1], bool)),)
    )
    daq = frame(One=ONE, Other=OTHER, Some=some)
    pulses = resolve_pulses("Last", [frame(Union=UNION(("One", "Some")), Last=last), daq])
    assert pulses.charge.tolist() == [2, 5]


def test_pulses_are_combined_by_module() -> None:
    pulses = resolve_pulses("Modules", frame(Other=OTHER, Modules=BY_MODULE("Other")))
    assert list(pulses.doms()) == [(OMKey(1, 1, 0), slice(0, 3))]
    assert pulses.charge.tolist() == [6, 4, 5]


def calibration(**doms: tuple[float, float]) -> Any:
    """Make the calibration of DOMs such as ``d1_2``, with mean ATWD and FADC charges only."""
    dom_cal = {
        OMKey(*map(int, name[1:].split("_"))): SimpleNamespace(
            mean_atwd_charge_correction=atwd, mean_fadc_charge_correction=fadc
        )
        for name, (atwd, fadc) in doms.items()
    }
    return CALIBRATION(dom_cal, {}, I3Time(2011, 0), I3Time(2038, 0))


PULSES = I3RecoPulseSeriesMap(
    {OMKey(1, 1): series((1, 3, 1, ATWD | FADC), (2, 3, 1, FADC)), OMKey(1, 2): series((3, 5, 1, 2))}
)


def corrected(**doms: tuple[float, float]) -> list[float]:
    objects: Any = {"Pulses": PULSES, "Cal": calibration(**doms), "Corrected": CORRECTED("Pulses", "Cal")}
    charges: list[float] = resolve_pulses("Corrected", [objects]).charge.tolist()
    return charges


def test_charges_are_divided_by_the_mean_of_their_digitiser() -> None:
    assert corrected(d1_1=(2.0, 4.0), d1_2=(0.5, 1.0)) == [1.5, 0.75, 10.0]
    assert corrected(d1_1=(nan, 4.0), d1_2=(0.0, 1.0)) == [3.0, 0.75, 5.0]  # what is not valid changes nothing


def test_missing_calibration_is_named() -> None:
    with pytest.raises(I3Error, match=r"key 'Corrected': 'Cal' has no calibration of the DOM \(1, 2, 0\)"):
        corrected(d1_1=(2.0, 4.0))
    physics = frame(Pulses=PULSES, Corrected=CORRECTED("Pulses", "Cal"), Other=CORRECTED("Pulses", "Pulses"))
    for key, name in (("Corrected", "Cal"), ("Other", "Pulses")):
        with pytest.raises(I3Error, match=f"key '{key}': its charges need the I3Calibration '{name}', which"):
            resolve_pulses(key, physics)


def test_union_of_a_missing_key_or_of_itself_is_named() -> None:
    physics = frame(A=UNION(("B", "Nothing")), B=ONE, C=UNION(("D",)), D=BY_MODULE("C"), Number=I3Double(1.0))
    with pytest.raises(I3Error, match="key 'Nothing': there are no such pulses, of which 'A' is made, in the frames"):
        resolve_pulses("A", physics)
    with pytest.raises(I3Error, match="key 'C': the pulses are made, in the end, of themselves: 'C' of 'D' of 'C'"):
        resolve_pulses("C", physics)
    with pytest.raises(I3Error, match="expected, found I3Double"):
        resolve_pulses("Number", physics)


def test_nesting_is_limited() -> None:
    maps = {f"U{depth}": UNION((f"U{depth + 1}",)) for depth in range(40)}
    with pytest.raises(I3Error, match="the pulses are made of others more than 32 times over"):
        resolve_pulses("U0", frame(**maps, U40=ONE))
    assert len(resolve_pulses("U20", frame(**maps, U40=ONE))) == 3


def test_union_that_repeats_its_keys_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten levels of unions, each of the one below a hundred times, would be 1e20 pulses."""
    monkeypatch.setattr(pulse_sources, "MAX_PULSES", 10_000)
    maps = {f"U{depth}": UNION((f"U{depth + 1}",) * 100) for depth in range(10)}
    with pytest.raises(I3Error, match="more than the 10000 pulses that an event may have"):
        resolve_pulses("U0", frame(**maps, U10=ONE))
    empty = I3RecoPulseSeriesMap({OMKey(1, 1): series()})
    with pytest.raises(I3Error, match="more than the 10000 pulses that an event may have"):
        resolve_pulses("U", frame(E=empty, U=UNION(("E",) * 10_001)))


def test_maps_of_which_nothing_is_left_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unions of all pulses, of which masks choose none: each is small in the file, and all are held."""
    none = BitMask.of(np.array([0, 0], bool))
    objects: dict[str, Any] = {"One": ONE}
    for number in range(20):
        objects[f"U{number}"] = UNION(("One",))
        objects[f"M{number}"] = I3RecoPulseSeriesMapMask(f"U{number}", none, ())
    objects["All"] = UNION(tuple(f"M{number}" for number in range(20)))
    assert len(resolve_pulses("All", frame(**objects))) == 0
    monkeypatch.setattr(pulse_sources, "MAX_MADE", 59)
    with pytest.raises(I3Error, match="key 'U19': the maps that the pulses are made of have more than 59 pulses"):
        resolve_pulses("All", frame(**objects))
    monkeypatch.setattr(pulse_sources, "MAX_MADE", 60)
    assert len(resolve_pulses("All", frame(**objects))) == 0


def test_long_chains_of_masks_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    every = I3RecoPulseSeriesMapMask(
        "One", BitMask.of(np.array([1, 1], bool)), (BitMask.of(np.array([1, 1], bool)), BitMask.of(np.array([1], bool)))
    )
    objects: dict[str, Any] = {"One": ONE, "M0": every}
    for number in range(1, 15_000):
        objects[f"M{number}"] = replace(every, source=f"M{number - 1}")
    read: list[str] = []

    class Counted(Frame):
        def __getitem__(self, key: str) -> Any:
            read.append(key)
            return super().__getitem__(key)

    frame = Counted("P")
    for key, value in objects.items():
        frame[key] = value
    frame["All"] = UNION(tuple(f"M{number}" for number in range(15_000)))
    with pytest.raises(I3Error, match="made of others more than 32 times over"):
        resolve_pulses("M14999", frame)
    assert len(read) == 32
    read.clear()
    assert len(resolve_pulses("All", frame)) == 3 * 15_000
    assert len(read) == 15_002  # each once


@given(st.lists(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 5)), max_size=6), min_size=1, max_size=4))
def test_union_has_every_pulse_once(maps: list[list[tuple[int, int]]]) -> None:
    objects = {}
    number = 0
    for index, pulses in enumerate(maps):
        doms: dict[OMKey, list[tuple[float, float, float, int]]] = {}
        for om, time in pulses:
            doms.setdefault(OMKey(1, om), []).append((time, number, 1, 7))
            number += 1
        objects[f"M{index}"] = I3RecoPulseSeriesMap({key: series(*doms[key]) for key in sorted(doms)})
    result = resolve_pulses("Union", frame(**objects, Union=UNION(tuple(objects))))
    assert sorted(result.charge.tolist()) == list(range(number))
    for _, where in result.doms():
        rows = list(zip(result.time[where].tolist(), result.charge[where].tolist(), strict=True))
        assert rows == sorted(rows)  # of one time: in the order of the maps
