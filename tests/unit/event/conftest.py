"""Small events with few pulses for the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from skymap_scanner.event.model import Event
from skymap_scanner.i3 import PULSE_DTYPE, Frame, I3EventHeader, I3RecoPulseSeriesMap, I3Time, I3TimeWindow, OMKey

Pulse = tuple[float, float, float, int]  # time (ns), charge (pe), width (ns), flags


def _make_event(
    pulses: Mapping[tuple[int, int], Sequence[Pulse]],
    *,
    window: tuple[float, float] | None = (9000.0, 12000.0),
    physics: Mapping[str, Any] | None = None,
    daq: Mapping[str, Any] | None = None,
    series: str = "SplitInIcePulses",
) -> Event:
    frames = {"Q": Frame("Q"), "P": Frame("P")}
    frames["P"]["I3EventHeader"] = I3EventHeader(run_id=1, event_id=2, start_time=I3Time(2024, 10**15))
    frames["P"][series] = I3RecoPulseSeriesMap(
        {OMKey(*address): np.array(list(values), PULSE_DTYPE) for address, values in sorted(pulses.items())}
    )
    if window is not None:
        frames["P"][f"{series}TimeRange"] = I3TimeWindow(*window)
    for stop, objects in (("P", physics), ("Q", daq)):
        for key, value in (objects or {}).items():
            frames[stop][key] = value
    return Event("run00000001.evt000000000002", frames)


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Event]:
    """Return a function that makes an event of a P and a Q frame from the pulses of each (string, om)."""
    return _make_event
