"""The result files: as skyreader writes them, the same bytes every time, one clear error when damaged."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.security.conftest import at_most

from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import InputError
from skymap_scanner.results import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results import result as result_module
from skymap_scanner.results.result import result_from_json, result_from_npz, result_to_json, result_to_npz
from skymap_scanner.results.rule import WILKS, calibrated_rule, uncalibrated

UPSTREAM = (
    "millipede_original_run00138632.evt000031747601_1.json",
    "millipede_wilks_run00138632.evt000031747601_1.json",
)


def same(one: ScanResult, other: ScanResult) -> bool:
    return (
        one.metadata == other.metadata
        and one.levels.keys() == other.levels.keys()
        and all(one.levels[nside].tobytes() == other.levels[nside].tobytes() for nside in one.levels)
    )


def as_json(result: ScanResult) -> bytes:
    return b"".join(result_to_json(result))


@pytest.mark.parametrize("name", UPSTREAM)
def test_skyreader_file_round_trips_byte_for_byte(shared, name):
    content = (shared / "data" / "reference" / name).read_bytes()
    assert as_json(result_from_json(content)) == content


def test_reference_scan_equals_the_published_one(shared):
    result = ScanResult.read(shared / "data" / "reference" / UPSTREAM[0])
    rows = result.levels[1]
    assert (result.metadata.run_id, result.metadata.event_id, result.nsides) == (138632, 31747601, (1,))
    assert rows["index"][rows["llh"].argmin()] == 6
    assert rows["llh"].min() == pytest.approx(5195.68, abs=0.005)
    assert result.complete


def test_json_has_no_nan_but_the_string_of_skyreader(partial):
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(as_json(partial), parse_constant=refuse)
    entry = content["nside-8"]
    assert list(entry) == ["columns", "data", "metadata"]
    assert entry["columns"] == ["index", "llh", "E_in", "E_tot", "X", "Y", "Z", "T"]
    failed = partial.failed[8]
    assert entry["metadata"]["failed"] == f"8:{failed[0]}"
    assert [row[0] for row in entry["data"]] == [i for i in partial.levels[8]["index"].tolist() if i not in failed]
    assert entry["metadata"]["complete"] is False
    assert entry["metadata"]["version"] == 1
    assert same(result_from_json(as_json(partial)), partial)


@pytest.mark.parametrize("block", [1, 7, 768, 4096])
def test_json_in_pieces_equals_that_of_the_library(track, partial, nothing, metadata, monkeypatch, block):
    monkeypatch.setattr(result_module, "JSON_BLOCK", block)
    for result in (track, partial, nothing, ScanResult({8: track.levels[8][:0]}, metadata({8: ()}))):
        content = as_json(result)
        assert json.dumps(json.loads(content), indent=4).encode() == content
    assert max(map(len, result_to_json(track))) < 250 * max(block, 12), "a piece has one block of pixels"
    assert as_json(ScanResult({}, metadata({}))) == b"{}"


def test_level_without_a_fit_keeps_its_failed_pixels(nothing):
    entry = json.loads(as_json(nothing))["nside-8"]
    assert [row[1] for row in entry["data"]] == ["<skyreader.nan>"] * 3
    assert "failed" not in entry["metadata"]


def test_skyreader_finds_the_lowest_pixel_beside_failed_ones(partial):
    """As ``SkyScanResult.best_fit`` does: a NaN would make it ignore the level."""
    with np.load(io.BytesIO(result_to_npz(partial))) as file:
        level = file["nside-8"]
    assert level["llh"].min() == np.nanmin(partial.levels[8]["llh"])


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        ("8:1 x", "failed: '8:1 x' is not NSIDE:PIXEL"),
        ("8:1:2", "is not NSIDE:PIXEL"),
        (f"8:{2**70}", "is not NSIDE:PIXEL"),
        ("16:1", "failed: there is no level of nside 16"),
        ("8:768", "pixel 768 does not exist"),
        ("8:0", "pixel 0 comes twice"),
    ],
)
def test_impossible_failed_pixels_are_rejected(metadata, level, bowl, failed, message):
    rows = level(8, [0], bowl(0.0, 0.0, 1.0))
    content = json.loads(as_json(ScanResult({8: rows}, metadata({8: rows}))))
    content["nside-8"]["metadata"]["failed"] = failed
    with pytest.raises(InputError, match=re.escape(message)):
        result_from_json(json.dumps(content).encode())


def test_npz_reads_as_skyreader_reads_it(track):
    with np.load(io.BytesIO(result_to_npz(track))) as file:
        assert set(file.files) == {"header", "nside-8", "nside-64", "nside-512"}
        for row in file["header"]:  # skyreader's own loop
            key = f"nside-{row['nside']}"
            metadata = dict(zip(file["header"].dtype.fields.keys(), row, strict=True))
            array = np.array(list(file[key]), dtype=np.dtype(file[key].dtype, metadata=metadata))
            assert array.dtype == np.dtype([("index", int)] + [(name, float) for name in PIXEL.names[1:]])
            assert array.dtype.metadata["event_type"] == "neutrino"
            assert array.tobytes() == track.levels[int(row["nside"])].tobytes()


def test_equal_results_give_equal_bytes(track):
    again = ScanResult({n: track.levels[n][::-1] for n in reversed(track.levels)}, track.metadata)
    assert as_json(again) == as_json(track)
    assert result_to_npz(again) == result_to_npz(track)
    with zipfile.ZipFile(io.BytesIO(result_to_npz(track))) as members:
        infos = members.infolist()
    assert {member.date_time for member in infos} == {(1980, 1, 1, 0, 0, 0)}
    # Headers of more than 2 GB, which np.savez always writes, are other bytes with another release of Python.
    assert {member.extract_version for member in infos} == {20}


numbers = st.floats(allow_nan=True, allow_infinity=False)


@st.composite
def results(draw) -> ScanResult:
    levels = {}
    for nside in draw(st.sets(st.sampled_from([1, 2, 8, 64, 512, 16384]), min_size=1, max_size=3)):
        index = draw(st.sets(st.integers(0, 12 * nside**2 - 1), min_size=1, max_size=5))
        levels[nside] = np.array([(i, *draw(st.tuples(*[numbers] * 7))) for i in index], dtype=PIXEL)
    text = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=8)
    metadata = ScanMetadata(
        run_id=draw(st.integers(0, 2**31)),
        event_id=draw(st.integers(0, 2**32)),
        event_type=draw(text),
        mjd=draw(st.floats(0, 1e5)),
        is_real_event=draw(st.booleans()),
        complete={nside: draw(st.booleans()) for nside in levels},
        plan=draw(st.dictionaries(st.sampled_from([8, 64]), st.integers(0, 768))),
        name=draw(text),
        sub_event_id=draw(st.none() | st.integers(0, 2**32 - 1)),
        sub_event_stream=draw(st.sampled_from(["", "InIceSplit"])),
        choice=draw(st.sampled_from(["", "2 sub-events have light"])),
        caution=draw(st.sampled_from(["", "the event has no BadDomsList"])),
        reconstruction=draw(text),
        likelihood=draw(st.sampled_from(["", "millipede 7; table 1a2b"])),
        topology=draw(st.sampled_from(["", "track", "cascade"])),
        rule=draw(
            st.sampled_from([None, WILKS, uncalibrated("no file"), calibrated_rule(2.2, 8.0, "calibrated", "x")])
        ),
        wall_time=draw(st.none() | st.floats(0, 1e6)),
    )
    return ScanResult(levels, metadata)


@given(results())
@settings(max_examples=60)
def test_json_and_npz_round_trip(result):
    assert same(result_from_json(as_json(result)), result)
    assert same(result_from_npz(result_to_npz(result)), result)


def test_read_recognizes_the_format_by_content(track, tmp_path):
    assert same(ScanResult.read(write_atomically(tmp_path / "one", result_to_json(track))), track)
    assert same(ScanResult.read(write_atomically(tmp_path / "two.json", result_to_npz(track))), track)


def test_columns_of_version_0_are_filled_with_nan():
    entry = {"nside": 1, "run_id": 1, "event_id": 2, "event_type": "track", "mjd": 58000.0}
    old = {"nside-1": {"columns": ["index", "llh", "E_in", "E_tot"], "data": [[3, 1.0, 2.0, 3.0]], "metadata": entry}}
    (row,) = result_from_json(json.dumps(old).encode()).levels[1]
    assert row.tolist()[:4] == (3, 1.0, 2.0, 3.0)
    assert np.isnan([row[name] for name in "XYZT"]).all()


def test_infinite_values_count_as_failed(level, bowl, metadata):
    rows = level(1, range(12), bowl(0.0, 0.0, 1.0))
    rows["llh"][4] = np.inf
    result = ScanResult({1: rows}, metadata({1: rows}))
    assert result.failed == {1: [4]}
    assert np.isinf(rows["llh"][4]), "the caller's array must not change"


def test_levels_without_pixels_stay_out_of_the_files(track):
    result = ScanResult({**track.levels, 512: track.levels[512][:0]}, track.metadata)
    assert result.stem.endswith("_8_64_512")
    assert list(json.loads(as_json(result))) == ["nside-8", "nside-64"]
    assert result_from_json(as_json(result)).stem == result.stem
    assert result_from_npz(result_to_npz(result)).levels.keys() == {8, 64}


def test_names_follow_the_reference(track, metadata):
    assert track.stem == "run00138632.evt000031747601.neutrino_8_64_512"
    for sub_event, label in ((0, "evt000031747601"), (3, "evt000031747601-3")):
        second = ScanResult({}, metadata({}, sub_event_id=sub_event))
        assert second.stem == f"run00138632.{label}.neutrino"
    odd = ScanResult({}, metadata({}, run_id=7, event_id=8, event_type="../a b"))
    assert odd.stem == "run00000007.evt000000000008.---a-b"
    long = ScanResult({}, metadata({}, event_type="größe" * 100))
    assert long.stem == f"run00138632.evt000031747601.{('gr--e' * 100)[:60]}"


@pytest.mark.parametrize("field", ["event_type", "name", "reconstruction", "scanner_version", "date", "choice"])
@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Größe ν 🔭", "Größe ν 🔭"),
        ("a\nb\x1b[2J", r"a\nb\x1b[2J"),
        ("\ud800", r"\ud800"),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_free_text_of_a_file_is_one_line_that_can_be_written(field, text, read):
    content = json.dumps(changed(metadata={**ENTRY["metadata"], field: text})).encode()
    result = result_from_json(content)
    assert getattr(result.metadata, field) == read
    assert same(result_from_json(as_json(result)), result)
    assert same(result_from_npz(result_to_npz(result)), result)


ROW = [0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
ENTRY = {
    "columns": list(PIXEL.names),
    "data": [ROW],
    "metadata": {"nside": 1, "run_id": 1, "event_id": 2, "event_type": "t", "mjd": 5.0},
}


def changed(**changes: object) -> dict[str, object]:
    return {"nside-1": ENTRY | changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no levels"),
        ({}, "no levels"),
        ({"nside-x": ENTRY}, 'unknown entry "nside-x"'),
        ({"nside-3": ENTRY | {"metadata": {**ENTRY["metadata"], "nside": 3}}}, "nside 3 is not a power of two"),
        ({"nside-1": [1]}, "needs the fields columns, data and metadata"),
        (changed(columns=["index"]), "columns are"),
        (changed(data={}), "data is not a list"),
        (changed(data=[[1, 2]]), "row 0 is not an index and 7 numbers"),
        (changed(data=[[0.0, *ROW[1:]]]), "row 0 is not an index"),
        (changed(data=[[0, "NaN", *ROW[2:]]]), "row 0 holds something that is no number"),
        (changed(data=[[0, None, *ROW[2:]]]), "row 0 holds something that is no number"),
        (changed(data=[[0, 10**400, *ROW[2:]]]), "too large"),
        (changed(data=[[12, *ROW[1:]]]), "pixel 12 does not exist, they run from 0 to 11"),
        (changed(data=[[-1, *ROW[1:]]]), "pixel -1 does not exist"),
        (changed(data=[ROW, ROW]), "pixel 0 comes twice"),
        (changed(metadata={"nside": 2}), "says nside 2"),
        (changed(metadata={"nside": 1}), "lacks 'run_id'"),
        (changed(metadata=7), "is not an object"),
        (changed(metadata={**ENTRY["metadata"], "mjd": "soon"}), "could not convert"),
        (changed(metadata={**ENTRY["metadata"], "run_id": -4}), "must be numbers from 0 to"),
        (changed(metadata={**ENTRY["metadata"], "event_id": 10**30}), "must be numbers from 0 to"),
        (changed(metadata={**ENTRY["metadata"], "wall_time": math.inf}), "wall_time must be a number of seconds"),
        (changed(metadata={**ENTRY["metadata"], "plan": "8:769"}), "plan 8:769 is not NSIDE:PIXELS of a sky"),
        (changed(metadata={**ENTRY["metadata"], "plan": f"{10**70}:1"}), "is not NSIDE:PIXELS of a sky"),
        (changed(metadata={**ENTRY["metadata"], "plan": "8"}), "not enough values"),
        (
            changed(metadata={**ENTRY["metadata"], "topology": "muon"}),
            "topology 'muon': expected one of track, cascade",
        ),
        (
            changed(metadata={**ENTRY["metadata"], "likelihood": "a\nb"}),
            "likelihood 'a\\nb': expected up to 500 printable",
        ),
        (changed(metadata={**ENTRY["metadata"], "contours": "wilks"}), "contours_statement"),
    ],
)
def test_invalid_json_is_one_clear_error(content, message, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        ScanResult.read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_invalid_npz_is_one_clear_error(track, monkeypatch):
    def npz(**arrays: object) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    header = np.array([(1, 2)], dtype=[("nside", int), ("run_id", int)])
    with pytest.raises(InputError, match="no array `header`"):
        result_from_npz(npz(**{"nside-8": track.levels[8]}))
    with pytest.raises(InputError, match="describes nside"):
        result_from_npz(npz(header=header, **{"nside-8": track.levels[8]}))
    with pytest.raises(InputError, match="columns are None"):
        result_from_npz(npz(header=header, **{"nside-1": np.zeros(3)}))
    with pytest.raises(InputError, match="Python objects"):  # a pickle would run code
        result_from_npz(npz(header=header, **{"nside-1": np.array([{}], dtype=object)}))
    with pytest.raises(InputError, match=r"`header` has shape \(2,\), and there are 1 levels"):
        result_from_npz(npz(header=np.repeat(header, 2), **{"nside-1": track.levels[8]}))
    with pytest.raises(InputError, match='unknown entry "nside"'):
        result_from_npz(npz(header=header, nside=track.levels[8]))
    monkeypatch.setattr(result_module, "MAX_NPZ_BYTES", 1000)
    with pytest.raises(InputError, match=r"would take [0-9]+ bytes, more than the 1000 allowed"):
        result_from_npz(result_to_npz(track))


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_raise_nothing_but_input_errors(data):
    rows = np.array([tuple(ROW)], dtype=PIXEL)
    whole = ScanResult({1: rows}, ScanMetadata(1, 2, "t", 5.0, is_real_event=True))
    encode, decode = data.draw(st.sampled_from([(as_json, result_from_json), (result_to_npz, result_from_npz)]))
    content = bytearray(encode(whole))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with contextlib.suppress(InputError):
        assert decode(bytes(content)).levels


@pytest.mark.parametrize(("suffix", "limit"), [("json", "MAX_JSON_BYTES"), ("npz", "MAX_NPZ_BYTES")])
def test_result_file_is_read_up_to_its_limit(track, tmp_path, monkeypatch, suffix, limit):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(as_json(track) if suffix == "json" else result_to_npz(track))
    monkeypatch.setattr(result_module, limit, path.stat().st_size)
    assert same(ScanResult.read(path), track)
    monkeypatch.setattr(result_module, limit, path.stat().st_size - 1)
    with pytest.raises(
        InputError, match=rf"x\.{suffix}: cannot be read \(larger than the {path.stat().st_size - 1} bytes"
    ):
        ScanResult.read(path)


def test_endless_file_is_one_clear_error():
    with pytest.raises(InputError, match="/dev/zero: cannot be read"):
        ScanResult.read(Path("/dev/zero"))


@pytest.mark.parametrize("value", [b"{},", b"[],", b'{"":1},', b"1.5,"])
def test_json_with_too_many_values_takes_no_memory(value):
    content = b'{"nside-1": [' + value * (result_module.MAX_JSON_VALUES // value.count(b",")) + b"0]}"
    with at_most(1), pytest.raises(InputError, match="values, more than the 20000000 allowed"):
        result_from_json(content)


def test_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ScanResult.read(tmp_path / "none.json")
