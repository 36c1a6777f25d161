from __future__ import annotations

import pytest

from skymap_scanner.roles.collector.decisions import IdleTimeout

#: What happens at a time (s): fits that arrive, pixels that they complete; None: the timeout is checked.
Event = tuple[float, tuple[int, int] | None]


@pytest.mark.parametrize(
    ("events", "expired"),
    [
        ([(104.9, None), (105.0, None)], [False, True]),
        ([(105.0, None), (114.9, None), (115.0, None)], [True, False, True]),
        (
            [(105, None), (115, None), (135, None), (175, None), (235, None), (294, None), (295, None)],
            [True] * 5 + [False, True],
        ),
        ([(104.0, (3, 0)), (108.9, None), (109.0, None)], [False, True]),
        ([(105.0, None), (114.9, (1, 0)), (124.8, None), (124.9, None)], [True, False, True]),
        ([(105.0, None), (115.0, None), (116.0, (3, 1)), (120.9, None), (121.0, None)], [True, True, False, True]),
        ([(105.0, None), (114.0, (0, 0)), (115.0, None)], [True, True]),
    ],
    ids=[
        "expires",
        "doubles",
        "is limited",
        "a fit restarts it",
        "a fit keeps it doubled",
        "a pixel resets it",
        "nothing",
    ],
)
def test_idle_timeout_doubles_until_a_pixel_is_completed(events: list[Event], expired: list[bool]) -> None:
    timeout, found = IdleTimeout(100.0, first=5.0, longest=60.0), []
    for now, arrived in events:
        if arrived is None:
            found.append(timeout.expired(now))
        else:
            timeout.record(now, fits=arrived[0], completed=arrived[1])
    assert found == expired
