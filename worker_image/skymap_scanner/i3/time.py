"""I3Time: UTC as the detector's clock counts it, in tenths of a nanosecond since the year began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

from skymap_scanner.errors import I3Error

_SECONDS_PER_DAY: Final = 86400
TICKS_PER_SECOND: Final = 10**10
TICKS_PER_DAY: Final = _SECONDS_PER_DAY * TICKS_PER_SECOND
_MJD_OF_DAY_0: Final = -678576  # modified Julian date of proleptic ordinal 0
#: Days that ended on a leap second, as modified Julian dates (IERS Bulletin C; none since 2016, as of 2026). Like
#: IceTray's list, it begins with the last day of 1971, when UTC was set to whole seconds.
_LEAP_DAYS: Final = tuple(
    date.fromordinal(mjd - _MJD_OF_DAY_0)
    for mjd in (
        *(41316, 41498, 41682, 42047, 42412, 42777, 43143, 43508, 43873, 44238, 44785, 45150, 45515, 46246),
        *(47160, 47891, 48256, 48803, 49168, 49533, 50082, 50629, 51178, 53735, 54831, 56108, 57203, 57753),
    )
)


@dataclass(frozen=True, slots=True, order=True)
class I3Time:
    """A time (format section 4): ``utc_daq_time`` counts 0.1 ns since 1 January 00:00 UTC of ``utc_year``.

    The count includes leap seconds, as IceTray's does.
    """

    utc_year: int = 0
    utc_daq_time: int = 0

    @classmethod
    def from_mjd(cls, mjd: float) -> Self:
        """Make the time of a modified Julian date (UTC, days; a float resolves about 1 us).

        Raises I3Error when the day is in no calendar.
        """
        try:
            whole = int(mjd // 1)
            day = date.fromordinal(whole - _MJD_OF_DAY_0)
        except (ValueError, OverflowError) as error:
            raise I3Error(f"the modified Julian date {mjd} is in no calendar") from error
        ticks = round((mjd - whole) * TICKS_PER_DAY)
        return cls(day.year, _ticks_before(day) + ticks)

    def later(self, ticks: int) -> I3Time:
        """Return the time ``ticks`` (0.1 ns) later, or earlier if negative; it may lie in another year.

        Raises I3Error when the year is in no calendar.
        """
        year, count = self.utc_year, self.utc_daq_time + ticks
        try:
            while count < 0:
                year -= 1
                count += _ticks_before(date(year + 1, 1, 1), date(year, 1, 1))
            while count >= (length := _ticks_before(date(year + 1, 1, 1), date(year, 1, 1))):
                year += 1
                count -= length
        except ValueError as error:
            raise I3Error(f"{ticks} x 0.1 ns after {self} is in no calendar") from error
        return I3Time(year, count)

    @property
    def mjd(self) -> float:
        """The modified Julian date (UTC, days). A leap second repeats the second before it, as in IceTray.

        Raises I3Error when the time is in no calendar: a damaged or empty header.
        """
        day, ticks = self._day_and_ticks()
        if ticks >= TICKS_PER_DAY:
            ticks -= TICKS_PER_SECOND
        return day.toordinal() + _MJD_OF_DAY_0 + ticks / TICKS_PER_DAY

    def isoformat(self) -> str:
        """Write as ISO 8601 with all ten digits (``2023-12-03T09:35:57.0123456789Z``); raises I3Error."""
        day, ticks = self._day_and_ticks()
        seconds, tenth_ns = divmod(ticks, TICKS_PER_SECOND)
        leap = seconds - min(seconds, _SECONDS_PER_DAY - 1)
        hour, rest = divmod(seconds - leap, 3600)
        minute, second = divmod(rest, 60)
        return f"{day.isoformat()}T{hour:02}:{minute:02}:{second + leap:02}.{tenth_ns:010}Z"

    def __str__(self) -> str:
        try:
            return self.isoformat()
        except I3Error:
            return f"year {self.utc_year} + {self.utc_daq_time} x 0.1 ns"

    def _day_and_ticks(self) -> tuple[date, int]:
        """Return the day, and the ticks since it began; raises I3Error."""
        try:
            start = date(self.utc_year, 1, 1)
            day = start + timedelta(days=self.utc_daq_time // TICKS_PER_DAY)
        except (ValueError, OverflowError) as error:
            raise I3Error(f"year {self.utc_year} + {self.utc_daq_time} x 0.1 ns is in no calendar") from error
        ticks = self.utc_daq_time - _ticks_before(day, start)
        if ticks < 0:  # leap seconds before it move the day's beginning
            day -= timedelta(days=1)
            ticks = self.utc_daq_time - _ticks_before(day, start)
        return day, ticks


def _ticks_before(day: date, start: date | None = None) -> int:
    """Count the ticks from ``start`` (the year's first day) to the beginning of ``day``, leap seconds included."""
    start = start or date(day.year, 1, 1)
    leap = sum(start <= leap_day < day for leap_day in _LEAP_DAYS)
    return ((day - start).days * _SECONDS_PER_DAY + leap) * TICKS_PER_SECOND
