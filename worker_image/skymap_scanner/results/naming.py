"""The names that IceCube gives to events: IceCube-YYMMDDX."""

from __future__ import annotations

import re
from dataclasses import replace

from skymap_scanner.errors import InputError
from skymap_scanner.results.fits_files import mjd_to_iso
from skymap_scanner.results.result import ScanResult

_BY_DATE = re.compile("IceCube-[0-9]{6}[A-Z]")


def named_by_date(result: ScanResult, letter: str) -> ScanResult:
    """Return a result whose event is named IceCube-YYMMDDX: its UTC date, and the ``letter`` that counts that day's.

    Raises InputError for anything but a capital letter, and for an event whose date has no such name.
    """
    if not re.fullmatch("[A-Z]", letter):
        raise InputError(f"letter {letter!r}: expected one from A to Z")
    date = mjd_to_iso(result.metadata.mjd).partition("T")[0]
    if not "2000" <= date[:4] <= "2099":  # of other centuries, two digits of the year would be ambiguous
        raise InputError(f"the event is of {date or 'no date'}: expected 2000 to 2099")
    name = f"IceCube-{date[2:].replace('-', '')}{letter}"
    return replace(result, metadata=replace(result.metadata, name=name))


def is_named_by_date(name: str) -> bool:
    """Return whether a name has the form IceCube-YYMMDDX."""
    return _BY_DATE.fullmatch(name) is not None
