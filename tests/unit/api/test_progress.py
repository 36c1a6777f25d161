from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.progress import FitCounts, Progress, ProgressPhase, decode_progress, encode_progress
from skymap_api.resource.base import INT32
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, LevelStatus, NoticesStatus, NoticeStatus

LEVEL = {"nside": 8, "done": 1, "planned": 768, "decided": True, "failed": 0}
BEST = {"nside": 8, "pixel": 3, "ra": 1.5, "dec": -2.5, "llh": 10.0, "area_90": 214.5, "contours": "wilks"}
SNAPSHOT: dict[str, Any] = {
    "name": "x",
    "phase": "scanning",
    "levels": [LEVEL],
    "fits": {"done": 7, "started": 5376, "planned": 6000},
    "rate": 1.0,
    "eta": 5.0,
    "elapsed": 1.0,
    "best": None,
    "outputs": [],
    "obstacle": None,
}


def test_progress_wire_format_is_stable() -> None:
    snapshot = Progress(
        name="x",
        phase=ProgressPhase.DONE,
        levels=(LevelStatus(nside=8, done=1, planned=768, decided=True),),
        fits=FitCounts(done=7, started=5376, planned=6000),
        rate=1.0,
        eta=None,
        elapsed=1.0,
        best=BestFitStatus(nside=8, pixel=3, ra=1.5, dec=-2.5, llh=10.0, area_90=214.5, contours="wilks"),
        calibration=CalibrationStatus(done=12, planned=100, failed=1),
        outputs=("a.i3.zst",),
        notices=NoticesStatus(destinations=(NoticeStatus(to="slack", type="initial", state="Pending", message="503"),)),
    )
    assert encode_progress(snapshot) == (
        b'{"name":"x","phase":"done","levels":[{"nside":8,"done":1,"planned":768,"decided":true,"failed":0}],'
        b'"fits":{"done":7,"started":5376,"planned":6000},'
        b'"rate":1.0,"eta":null,"elapsed":1.0,"best":{"nside":8,"pixel":3,"ra":1.5,"dec":-2.5,"llh":10.0,'
        b'"area_90":214.5,"contours":"wilks","caution":null},"calibration":{"done":12,"planned":100,"failed":1},"outputs":["a.i3.zst"],"obstacle":null,"left_out":null,'
        b'"notices":{"destinations":[{"to":"slack","type":"initial","state":"Pending","sent":null,"message":"503"}],'
        b'"fault":null,"ended":false}}'
    )
    assert decode_progress(encode_progress(snapshot)) == snapshot


def test_totals_are_sums_over_levels() -> None:
    levels = [LEVEL | {"failed": 1}, LEVEL | {"nside": 64, "done": 0, "planned": 100, "failed": 2}]
    found = decode_progress(json.dumps(SNAPSHOT | {"levels": levels}).encode())
    assert (found.done, found.planned, found.failed) == (1, 868, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"eta": None},
        {"eta": INT32, "elapsed": INT32},
        {"best": BEST},
        {"best": BEST | {"area_90": None}},
        {"best": BEST | {"contours": None}},
        {"levels": []},
        {"levels": [LEVEL] * 14},
        {"levels": [LEVEL | {"planned": INT32}]},
        {"outputs": ["x" * 255] * 64},
        {"obstacle": "x" * 4096},
        {"name": "x" * 200},
        {"field_of_a_later_version": [1]},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_valid_snapshots_are_read(changes: dict[str, Any]) -> None:
    decode_progress(json.dumps(SNAPSHOT | changes).encode())


def test_fields_added_later_have_defaults() -> None:
    first = {name: value for name, value in SNAPSHOT.items() if name not in {"outputs", "obstacle"}}
    found = decode_progress(json.dumps(first).encode())
    assert (found.outputs, found.obstacle) == ((), None)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"eta": math.nan}, "eta"),
        ({"eta": math.inf}, "eta"),
        ({"eta": 1e300}, "eta"),
        ({"eta": -1.0}, "eta"),
        ({"eta": "soon"}, "eta"),
        ({"eta": [1]}, "eta"),
        ({"eta": True}, "eta"),
        ({"rate": math.inf}, "rate"),
        ({"rate": math.nan}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": None}, "rate"),
        ({"elapsed": math.nan}, "elapsed"),
        ({"elapsed": -0.5}, "elapsed"),
        ({"phase": 7}, "phase"),
        ({"phase": ["scanning"]}, "phase"),
        ({"phase": "resting"}, "phase"),
        ({"levels": [LEVEL] * 15}, "levels"),
        ({"levels": [LEVEL | {"planned": INT32}] * 2}, "levels: more than 2147483647 pixels planned"),
        ({"levels": [LEVEL | {"done": INT32}] * 2}, "levels: more than 2147483647 pixels done"),
        ({"levels": [LEVEL | {"planned": INT32 + 1}]}, r"levels\[0\].planned"),
        ({"levels": [LEVEL | {"done": -1}]}, r"levels\[0\].done"),
        ({"levels": [LEVEL | {"done": 1.5}]}, r"levels\[0\].done"),
        ({"levels": [LEVEL | {"failed": "1"}]}, r"levels\[0\].failed"),
        ({"levels": [LEVEL | {"nside": 9}]}, r"levels\[0\].nside"),
        ({"levels": [LEVEL | {"decided": 1}]}, r"levels\[0\].decided"),
        ({"levels": 5}, "levels"),
        ({"best": "none"}, "best"),
        ({"best": BEST | {"llh": math.inf}}, "best.llh"),
        ({"best": BEST | {"ra": 360.0}}, "best.ra"),
        ({"best": BEST | {"dec": math.nan}}, "best.dec"),
        ({"best": BEST | {"pixel": -1}}, "best.pixel"),
        ({"best": BEST | {"area_90": -1.0}}, "best.area"),
        ({"best": BEST | {"contours": "magic"}}, "best.contours"),
        ({"outputs": ["x" * 300]}, r"outputs\[0\]"),
        ({"outputs": ["x"] * 65}, "outputs"),
        ({"outputs": "abc"}, "outputs"),
        ({"obstacle": "x" * 5_000}, "obstacle"),
        ({"obstacle": 7}, "obstacle"),
        ({"name": "x" * 201}, "name"),
    ],
)
def test_invalid_snapshots_are_rejected_by_field(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=f"not a progress snapshot of this version: {place}") as raised:
        decode_progress(json.dumps(SNAPSHOT | changes).encode())
    assert len(str(raised.value)) < 300


def test_longest_snapshot_is_read_and_a_longer_message_is_not() -> None:
    texts = {"obstacle": "\x00" * 4096, "left_out": "\x00" * 4096, "outputs": ["\x00" * 255] * 64}
    longest = json.dumps(SNAPSHOT | texts | {"levels": [LEVEL] * 14, "best": BEST}).encode()
    assert len(decode_progress(longest).outputs) == 64
    with pytest.raises(ValueError, match=r"not a progress snapshot of this version: 262145 bytes, more than 262144"):
        decode_progress(longest.ljust(262145))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_other_messages_are_rejected(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a progress snapshot of this version: "):
        decode_progress(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(LEVEL | BEST)), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(SNAPSHOT)), JSON, max_size=3))
def test_accepted_snapshots_are_finite_and_bounded(changes: dict[str, Any]) -> None:
    try:
        found = decode_progress(json.dumps(SNAPSHOT | changes).encode())
    except ValueError:
        return
    assert 0 <= found.rate < math.inf
    assert found.eta is None or 0 <= found.eta <= INT32
    assert 0 <= found.elapsed <= INT32
    assert all(0 <= total <= INT32 for total in (found.done, found.planned, found.failed))
    assert decode_progress(encode_progress(found)) == found
