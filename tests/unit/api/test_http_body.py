"""Bodies of HTTP answers: decoded exactly, and never more than the limit, however they are cut and encoded."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.http_body import Body, BodyError

GZIP = {"content-encoding": "gzip"}


def read(raw: bytes, headers: dict[str, str], limit: int = 1_000_000, cuts: int = 65_536) -> bytes:
    body = Body(headers, limit)
    for start in range(0, len(raw), cuts):
        body.add(raw[start : start + cuts])
    return body.end()


@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 5000), st.sampled_from(["gzip", "X-GZIP ", ""]))
def test_body_is_decoded_however_it_is_cut(contents: list[bytes], cuts: int, encoding: str) -> None:
    raw = b"".join(map(gzip.compress if encoding else bytes, contents))
    whole = b"".join(contents)
    headers = {"content-encoding": encoding, "content-length": str(len(raw))}
    assert read(raw, headers, cuts=cuts) == whole
    if whole:
        with pytest.raises(BodyError, match=f"more than the {len(whole) - 1} bytes allowed"):
            read(raw, headers, limit=len(whole) - 1, cuts=cuts)


@given(st.binary(max_size=3000), st.integers(1, 500), st.integers(0, 2000))
def test_anything_is_a_body_within_the_limit_or_one_error(raw: bytes, cuts: int, limit: int) -> None:
    for start in (b"", b"\x1f\x8b\x08\0\0\0\0\0\0\3"):
        try:
            assert len(read(start + raw, GZIP, limit, cuts)) <= limit
        except BodyError as error:
            assert str(error).isprintable()  # noqa: PT017 - most of them are errors


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,identity", "br", "zstd", "deflate", "\x1b[31m", "x" * 10**6])
def test_other_and_nested_encodings_are_refused_unread(encoding: str) -> None:
    with pytest.raises(BodyError, match=r"the server encodes the content as .*: only gzip is decoded") as raised:
        Body({"content-encoding": encoding}, 100)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("declared", ["101", "1" * 5000])
def test_too_long_declared_body_is_refused_unread(declared: str) -> None:
    with pytest.raises(BodyError, match="more than the 100 bytes allowed"):
        Body({"content-length": declared}, 100)
    Body({"content-length": "-5"}, 100)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"plain text", "encoded as gzip, and it is not"),
        (gzip.compress(b"x") + b"more", "encoded as gzip, and it is not"),
        (gzip.compress(b"x" * 100)[:-1], "ends in the middle"),
        (gzip.compress(b"x" * 100)[:-8] + bytes(8), "or damaged"),
        (b"\x1f", "ends in the middle"),
    ],
)
def test_damaged_gzip_is_one_error(raw: bytes, words: str) -> None:
    for cuts in (1, 7, 65_536):
        with pytest.raises(BodyError, match=words):
            read(raw, GZIP, cuts=cuts)


def test_empty_body_may_claim_an_encoding() -> None:
    assert read(b"", GZIP) == b""


def test_bomb_costs_no_more_than_its_limit() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(BodyError, match="more than the 1000000 bytes"):
            read(bomb, GZIP)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
