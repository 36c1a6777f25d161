from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testing.reports import HOSTILE, make_report

from skymap_scanner.errors import InputError
from skymap_scanner.report import FitRecord, history_from_csv, history_to_csv
from skymap_scanner.report.history import BLOCK, MAX_TEXT

HEAD = b"nside,pixel,round,seed,llh,worker,began,ended,attempt,failure\n"


def test_history_is_read_as_it_was_written() -> None:
    history = make_report().history
    read = history_from_csv(b"".join(history_to_csv(history)))
    assert [one._replace(llh=0) for one in read] == [one._replace(llh=0) for one in history]
    pairs = zip(history, read, strict=True)
    assert all(a.llh == b.llh or (math.isnan(a.llh) and math.isnan(b.llh)) for a, b in pairs)


@given(st.text(max_size=300))
def test_any_text_stays_one_bounded_line(text: str) -> None:
    record = FitRecord(8, 1, 0, 0, math.nan, text, 1.0, 2.0, 1, text)
    content = b"".join(history_to_csv([record]))
    (read,) = history_from_csv(content)
    assert "\n" not in read.worker + read.failure
    assert max(len(read.worker), len(read.failure)) <= MAX_TEXT


def test_last_pixels_and_simulations_are_read() -> None:
    rows = b"16384,3221225471,0,0,1,w,1,2,1,\n1,11,0,0,,w,1,2,1,\n0,5000,0,0,1,w,1,2,1,\n"
    assert [one[:2] for one in history_from_csv(HEAD + rows)] == [(16384, 3221225471), (1, 11), (0, 5000)]


def test_long_history_is_encoded_in_pieces() -> None:
    record = FitRecord(8, 1, 0, 0, 1.5, HOSTILE, 1.0, 2.0, 1)
    pieces = list(history_to_csv([record] * (BLOCK + 1)))
    assert len(pieces) == 2
    assert len(history_from_csv(b"".join(pieces))) == BLOCK + 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line is not nside,pixel"),
        (b"\xff\xfe", "no history of a scan"),
        (HEAD + b"8,1,0\n", "line 2 of the history"),
        (HEAD + b"8,1,0,0,x,w,1,2,1,\n", "line 2 of the history"),
        (HEAD + b"8,1,0,0,1,w,1,2,1,\n8,1,0,0,1,w,nan,2,1,\n", "line 3 of the history: no time nan or 2"),
        (HEAD + b"8,1,0,0,1,w,1,1e300,1,\n", "no time 1 or 1e300"),
        (HEAD + b"8,1,0,0,1e300,w,1,2,1,\n", "no -ln L 1e300"),
        (HEAD + b"8,-1,0,0,1,w,1,2,1,\n", "no pixel, round, seed or attempt"),
        (HEAD + b"8,99999999999999999999,0,0,1,w,1,2,1,\n", "line 2 of the history: no pixel"),
        (HEAD + b"8,1,0,0,inf,w,1,2,1,\n", "line 2 of the history: no -ln L inf"),
        (HEAD + b"3,1,0,0,1,w,1,2,1,\n", "line 2 of the history: no nside 3 with a pixel 1"),
        (HEAD + b"32768,1,0,0,1,w,1,2,1,\n", "no nside 32768 with"),
        (HEAD + b"8,768,0,0,1,w,1,2,1,\n", "no nside 8 with a pixel 768"),
        (HEAD + b'8,1,0,0,1,"' + b"w" * 200_000, "no history of a scan"),
    ],
)
def test_invalid_history_is_rejected_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        history_from_csv(content)
