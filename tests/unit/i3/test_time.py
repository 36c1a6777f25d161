"""I3Time: the calendar, leap seconds, and modified Julian dates."""

from __future__ import annotations

import erfa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import I3Time

SECOND = 10**10
DAY = 86400 * SECOND


def test_isoformat_has_ten_decimals() -> None:
    assert I3Time(2023, 290057040932302199).isoformat() == "2023-12-02T17:08:24.0932302199Z"
    assert I3Time(2010, 0).isoformat() == "2010-01-01T00:00:00.0000000000Z"
    assert str(I3Time(2010, 1)) == "2010-01-01T00:00:00.0000000001Z"


def test_year_outside_the_calendar_is_printed() -> None:
    assert str(I3Time(0, 5)) == "year 0 + 5 x 0.1 ns"
    assert str(I3Time(2**31 - 1, -(2**63))).startswith("year 2147483647")
    assert str(I3Time(2020, 2**63 - 1)).startswith("2049-")


@pytest.mark.parametrize(
    ("year", "days", "seconds", "text"),
    [
        (2012, 181, 86399, "2012-06-30T23:59:59"),
        (2012, 181, 86400, "2012-06-30T23:59:60"),
        (2012, 181, 86401, "2012-07-01T00:00:00"),
        (2012, 182, 86401, "2012-07-02T00:00:00"),
        (2012, 182, 86400, "2012-07-01T23:59:59"),
        (2016, 365, 86400, "2016-12-31T23:59:60"),
        (2016, 365, 86399, "2016-12-31T23:59:59"),
        (2017, 0, 0, "2017-01-01T00:00:00"),
        (2013, 180, 86400, "2013-07-01T00:00:00"),
        (1998, 364, 86400, "1998-12-31T23:59:60"),
        (1997, 181, 1, "1997-07-01T00:00:00"),
        (1972, 366, 2, "1973-01-01T00:00:00"),
    ],
)
def test_leap_seconds_are_counted(year: int, days: int, seconds: int, text: str) -> None:
    assert I3Time(year, days * DAY + seconds * SECOND).isoformat() == f"{text}.0000000000Z"


def test_leap_second_repeats_the_one_before() -> None:
    before, within = (I3Time(2016, 365 * DAY + second * SECOND + SECOND // 2).mjd for second in (86399, 86400))
    assert before == within < 57754.0


def test_time_outside_the_calendar_is_an_error() -> None:
    for year in (0, 10000, -1, 2**31 - 1):
        with pytest.raises(I3Error, match=rf"year {year} \+ 5 x 0.1 ns is in no calendar"):
            _ = I3Time(year, 5).mjd


def test_known_dates_convert_to_mjd() -> None:
    assert I3Time(2000, 0).mjd == 51544.0
    assert I3Time(2023, 290057040932302199).mjd == pytest.approx(60280.71416774572, abs=1e-10)
    assert I3Time.from_mjd(51544.5) == I3Time(2000, DAY // 2)
    assert I3Time.from_mjd(56109.0).isoformat() == "2012-07-01T00:00:00.0000000000Z"


@pytest.mark.parametrize("mjd", [-1e6, 1e7, 1e300, float("nan"), float("inf")])
def test_date_outside_of_the_calendar_is_an_error(mjd: float) -> None:
    with pytest.raises(I3Error, match="is in no calendar"):
        I3Time.from_mjd(mjd)


@given(st.integers(2000, 2040), st.integers(0, 364), st.floats(0, 86399.999))
def test_dates_agree_with_erfa(year: int, day: int, seconds: float) -> None:
    _, first = erfa.cal2jd(year, 1, 1)
    mjd = float(first) + day + seconds / 86400
    time = I3Time.from_mjd(mjd)
    assert time.mjd == pytest.approx(mjd, abs=1e-10)
    assert time.utc_year == year


def test_later_time_carries_the_year() -> None:
    assert I3Time(2016, 366 * DAY).later(SECOND) == I3Time(2017, 0)  # 2016 had a leap second
    assert I3Time(2015, 365 * DAY + SECOND - 1).later(1) == I3Time(2016, 0)
    assert I3Time(2017, 0).later(-1) == I3Time(2016, 366 * DAY + SECOND - 1)
    assert I3Time(2017, 5).later(0) == I3Time(2017, 5)
    with pytest.raises(I3Error, match="is in no calendar"):
        I3Time(9999, 0).later(400 * DAY)
    with pytest.raises(I3Error, match="is in no calendar"):
        I3Time(1, 0).later(-DAY)


@given(st.integers(1990, 2030), st.integers(0, 364 * DAY), st.integers(-3000 * DAY, 3000 * DAY))
def test_later_and_earlier_cancel(year: int, count: int, ticks: int) -> None:
    moved = I3Time(year, count).later(ticks)
    assert moved.later(-ticks) == I3Time(year, count)
    assert moved.mjd - I3Time(year, count).mjd == pytest.approx(ticks / DAY, abs=11 / 86400)  # leap seconds are no days


def test_times_are_ordered() -> None:
    assert I3Time(2011, 5) < I3Time(2011, 6) < I3Time(2012, 0)
