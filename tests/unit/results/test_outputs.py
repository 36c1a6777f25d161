"""All files under their names, and the command that makes them again."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from skymap_api.names import RESULT_FORMATS
from skymap_scanner.cli.plot import command
from skymap_scanner.errors import InputError
from skymap_scanner.results import IC160427A, WILKS, ScanResult, write_results
from skymap_scanner.results.rule import uncalibrated

STEM = "run00138632.evt000031747601.neutrino_8_64_512"
SUFFIXES = [
    ".json",
    ".npz",
    ".summary.txt",
    ".summary.json",
    ".multiorder.fits",
    ".skymap_nside_512_probability.fits.gz",
    ".contours.geojson",
    ".region_50.moc.fits",
    ".region_50.moc.json",
    ".region_90.moc.fits",
    ".region_90.moc.json",
    ".region_3sigma.moc.fits",
    ".region_3sigma.moc.json",
    ".plot_allsky.png",
    ".plot_zoomed_wilks.png",
]


@pytest.fixture(scope="module")
def written(track, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "new" / "folder"
    return write_results(track, folder)


def test_all_files_have_the_names_of_the_reference(written):
    assert [path.name for path in written] == [STEM + suffix for suffix in SUFFIXES]
    assert sorted(written) == sorted(written[0].parent.iterdir()), "no temporary file stays"
    assert all(path.stat().st_size > 0 for path in written)


def test_pictures_have_300_dots_per_inch(written):
    for path in written:
        if path.suffix == ".png":
            place = path.read_bytes().index(b"pHYs") + 4
            assert struct.unpack(">II", path.read_bytes()[place : place + 8]) == (11811, 11811)  # per metre


@pytest.mark.parametrize("format", RESULT_FORMATS)
def test_single_format_equals_the_file_among_all(track, written, tmp_path, format):  # noqa: A002 - the option's name
    for path in write_results(track, tmp_path, [format]):
        assert path.read_bytes() == (written[0].parent / path.name).read_bytes()


def test_calibrated_contours_have_their_own_picture(track, calibrated, tmp_path):
    stated = ScanResult(track.levels, replace(track.metadata, rule=calibrated))
    names = [path.name for path in write_results(stated, tmp_path, ["png"])]
    assert names == [STEM + ".plot_allsky.png", STEM + ".plot_zoomed.png"]


def test_flat_map_is_named_after_its_nside(partial, tmp_path):
    (path,) = write_results(partial, tmp_path, ["flat-fits"])
    assert path.name == "run00138632.evt000031747601.neutrino_8.skymap_nside_8_probability.fits.gz"


def test_scan_without_fits_still_writes_its_numbers(nothing, tmp_path):
    names = [path.name for path in write_results(nothing, tmp_path)]
    assert [name.partition("neutrino_8")[2] for name in names] == [".json", ".npz", ".summary.txt", ".summary.json"]


def test_empty_result_is_written(metadata, tmp_path):
    names = [path.name for path in write_results(ScanResult({}, metadata({})), tmp_path)]
    assert names[2] == "run00138632.evt000031747601.neutrino.summary.txt"


def test_unknown_formats_and_bad_folders_are_clear_errors(track, tmp_path):
    with pytest.raises(InputError, match="unknown format 'pdf'; choose from json, npz"):
        write_results(track, tmp_path, ["pdf"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make this folder"):
        write_results(track, tmp_path / "file", ["json"])


def test_missing_matplotlib_is_reported_with_the_package(track, tmp_path, monkeypatch):
    monkeypatch.delattr("skymap_scanner.results.plots")
    monkeypatch.setitem(sys.modules, "skymap_scanner.results.plots", None)
    with pytest.raises(InputError, match=r"install skymap-scanner\[plots\]"):
        write_results(track, tmp_path, ["summary", "png"])
    assert (tmp_path / f"{STEM}.summary.txt").exists(), "what comes before the pictures is written"


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_plot_command_reproduces_the_files(written, tmp_path, suffix):
    arguments = [str(written[0].with_name(STEM + suffix)), "-o", str(tmp_path), "--format", "fits", "--format", "png"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    names = [line.rpartition("/")[2] for line in done.output.splitlines()]
    assert names == [STEM + suffix for suffix in (".multiorder.fits", ".plot_allsky.png", ".plot_zoomed_wilks.png")]
    for name in names:
        assert (tmp_path / name).read_bytes() == (written[0].parent / name).read_bytes()


@pytest.mark.parametrize("format", ["json", "npz"])
def test_plot_command_uses_the_contours_of_the_result_unless_told(track, calibrated, tmp_path, format):  # noqa: A002
    result = ScanResult(track.levels, replace(track.metadata, rule=calibrated))
    (path,) = write_results(result, tmp_path, [format])
    found = {}
    for contours in ("result", "wilks", "ic160427a"):
        arguments = [str(path), "-o", str(tmp_path / contours), "--format", "summary", "--contours", contours]
        assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
        name = f"{STEM}.summary.json" if contours == "result" else f"{STEM}.{contours}.summary.json"
        content = json.loads((tmp_path / contours / name).read_text())
        found[contours] = (content["rule"], content["rule_statement"], content["rule_source"])
    rules = {"result": calibrated, "wilks": WILKS, "ic160427a": IC160427A}
    assert found == {contours: (rule.name, rule.statement, rule.source) for contours, rule in rules.items()}


def test_files_of_another_rule_replace_none(track, written, tmp_path):
    """Only JSON and npz, which hold the pixels, do not depend on the rule."""
    before = {path.name: path.read_bytes() for path in write_results(track, tmp_path)}
    other = [path.name for path in write_results(track, tmp_path, rule=IC160427A)]
    named = [suffix.replace("_wilks", "") for suffix in SUFFIXES[2:] if "3sigma" not in suffix]  # of Wilks alone
    assert other == [STEM + suffix for suffix in SUFFIXES[:2]] + [f"{STEM}.ic160427a{suffix}" for suffix in named]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_rule_of_the_result_is_not_in_the_names_of_its_files(track, tmp_path):
    stated = ScanResult(track.levels, replace(track.metadata, rule=uncalibrated("no file")))
    before = {path.name: path.read_bytes() for path in write_results(stated, tmp_path, ["summary"])}
    again = write_results(stated, tmp_path, ["summary"], rule=WILKS)
    assert {path.name: path.read_bytes() for path in again} == before
    assert b"Not calibrated: no file" in before[f"{STEM}.summary.txt"]


def test_plot_command_draws_only_pictures_unless_told(written, tmp_path):
    arguments = [str(written[0]), "-o", str(tmp_path)]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {STEM + suffix for suffix in SUFFIXES[-2:]}


def test_plot_command_draws_other_kinds_of_files_on_request(written, tmp_path):
    arguments = [str(written[0]), "-o", str(tmp_path), "--image", "pdf", "--image", "svg", "--contours", "ic160427a"]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    kinds = [f"{STEM}.ic160427a.plot_{what}.{kind}" for what in ("allsky", "zoomed") for kind in ("pdf", "svg")]
    assert {path.name for path in tmp_path.iterdir()} == {*kinds}


def test_plot_command_rejects_other_files_in_one_line(tmp_path):
    path = tmp_path / "event.json"
    path.write_text("{")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "skymap_scanner", "plot", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{path}: not JSON" in done.stderr
    assert "Traceback" not in done.stderr


def test_maps_do_not_depend_on_vector_instructions(track, tmp_path):
    """numpy has other functions for AVX-512, whose last bits differ; without AVX-512 it has these alone."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    wide = [name for name in found if "AVX512" in name or name == "X86_V4"]
    formats = ("json", "npz", "fits", "flat-fits")
    (scanned, *_) = here = write_results(track, tmp_path / "here", formats)
    code = (
        "import sys; from pathlib import Path; from skymap_scanner.results import write_results; "
        "from skymap_scanner.results.result import result_from_json; "
        "write_results(result_from_json(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), sys.argv[3:])"
    )
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    subprocess.run([sys.executable, "-c", code, scanned, tmp_path / "there", *formats], env=environment, check=True)
    for path in here:
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(here) == 4


def test_documentation_names_every_file_and_format():
    text = (Path(__file__).parents[3] / "docs/reference/result-files.md").read_text()
    for name in (*SUFFIXES, ".plot_zoomed.png", *RESULT_FORMATS, "wilks", "calibrated", "ic160427a"):
        assert f"`{name}`" in text
