"""The draft of a circular, and the names of events and files that the community gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from skymap_scanner.cli.circular import command
from skymap_scanner.cli.plot import command as plot
from skymap_scanner.errors import InputError
from skymap_scanner.results import WILKS, ScanResult, write_results
from skymap_scanner.results.catalogue import Catalogue
from skymap_scanner.results.circular import circular_text
from skymap_scanner.results.contours import contours
from skymap_scanner.results.map_files import read_map
from skymap_scanner.results.naming import named_by_date
from skymap_scanner.results.outputs import lvk_name
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.sources import find_sources


def draft(result, rule=WILKS, catalogue=None):
    skymap = multi_order_map(result, rule)
    regions = contours(skymap)
    sources = None if catalogue is None else find_sources(skymap, regions, catalogue, nearest=1)
    return circular_text(result, skymap, regions, sources)


def test_draft_has_the_usual_wording(track, calibrated):
    gold = ScanResult(track.levels, replace(track.metadata, event_type="gfu-gold", topology="track"))
    text = draft(named_by_date(gold, "A"), calibrated)
    assert text.startswith(
        "SUBJECT: IceCube-231202A - IceCube observation of a high-energy neutrino candidate track-like event\n\n"
        "On 2023-12-02 at 17:08:24.09 UT IceCube detected a track-like event with a\n"
    )
    assert "ICECUBE_ASTROTRACK_GOLD alert stream" in " ".join(text.split())
    assert (
        "\n\nDate: 2023-12-02\nTime: 17:08:24.09 UT\n"
        "RA: 138.60 (+0.90/-0.80 deg 90% PSF containment) J2000\n"
        "Dec: 0.15 (+0.85/-0.85 deg 90% PSF containment) J2000\n\n"
        "The 90% region has an area of 2.27 square degrees.\n\n"
    ) in text
    assert "NOT TO BE SENT" not in text
    assert "statistical" not in text
    assert all(len(line) <= 78 for line in text.splitlines()[1:])


def test_statistical_errors_are_not_called_containment(track):
    text = draft(track)
    assert "RA: 138.60 (+0.69/-0.60 deg 90% statistical only) J2000" in text
    assert "covers statistical uncertainty alone" in " ".join(text.split())
    assert "containment" not in text


def test_reasons_to_wait_come_first(partial, track):
    first, *_ = draft(partial).split("SUBJECT")
    assert "the scan is not complete" in first
    assert "the best fit is at the edge" in " ".join(first.split())
    simulated = replace(track.metadata, is_real_event=False, caution="no BadDomsList.")
    first, *_ = draft(ScanResult(track.levels, simulated)).split("SUBJECT")
    assert "NOT TO BE SENT: the event is simulated.\n" in first
    assert "check this caution: no BadDomsList.\n" in first


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ([138.6, 200.0], [0.2, 0.0], "1 source lies within the 90% region (catalog psc): s0 at RA 138.60, Dec 0.20"),
        ([138.6, 138.7], [0.2, 0.1], "2 sources lie within the 90% region (catalog psc): s0 at"),
        (
            [142.0, 200.0],
            [0.2, 0.0],
            "No source of the catalog psc lies within the 90% region. The source of the catalog psc nearest",
        ),
        ([], [], "The catalog psc has no sources."),
    ],
)
def test_circular_names_the_sources(track, ra, dec, expected):
    catalogue = Catalogue("psc", [f"s{row}" for row in range(len(ra))], np.array(ra, float), np.array(dec, float))
    assert expected in " ".join(draft(track, catalogue=catalogue).split())


def test_command_prints_the_draft(track, tmp_path):
    write_results(track, tmp_path, ["json"])
    (tmp_path / "c.csv").write_text("name,ra,dec\nBlazar {x},138.6,0.2\n")
    done = CliRunner().invoke(command, [str(tmp_path), "--letter", "B", "--catalog", str(tmp_path / "c.csv")])
    assert done.exit_code == 0, done.output
    assert "SUBJECT: IceCube-231202B - " in done.output
    assert "Blazar {x}" in done.output
    assert "SUBJECT: IC231202A - " in CliRunner().invoke(command, [str(tmp_path)]).output


@pytest.mark.parametrize("letter", ["a", "AB", "", "1", "Ä", "A\n"])
def test_letter_must_be_one_capital(track, letter):
    with pytest.raises(InputError, match="expected one from A to Z"):
        named_by_date(track, letter)


@pytest.mark.parametrize("mjd", [1e300, 0.0, -1e9, 88069.1])
def test_dates_of_other_centuries_are_rejected(track, mjd):
    with pytest.raises(InputError, match="expected 2000 to 2099"):
        named_by_date(ScanResult(track.levels, replace(track.metadata, mjd=mjd)), "A")


def test_lvk_version_is_appended_to_map_names(track, tmp_path):
    (result,) = write_results(track, tmp_path, ["json"])
    formats = [word for name in ("fits", "flat-fits", "moc", "summary") for word in ("--format", name)]
    words = [str(result), "-o", str(tmp_path / "lvk"), "--letter", "C", "--lvk-version", "1", *formats]
    done = CliRunner().invoke(plot, words)
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "lvk").iterdir()}
    assert {name for name in names if "," in name} == {
        "IceCube-231202C.multiorder.fits,1",
        "IceCube-231202C.fits.gz,1",
    }
    assert f"{track.stem}.region_90.moc.fits" in names
    assert read_map(tmp_path / "lvk/IceCube-231202C.multiorder.fits,1").name == "IceCube-231202C"
    assert read_map(tmp_path / "lvk/IceCube-231202C.fits.gz,1").name == "IceCube-231202C"


def test_event_names_cannot_form_paths(track):
    for name, expected in {"../../etc/x y": "etc-x-y", "": track.stem, "..": track.stem, "ö" * 300: track.stem}.items():
        found = lvk_name(ScanResult(track.levels, replace(track.metadata, name=name)), ".multiorder.fits", 0)
        assert "/" not in found
        assert found == f"{expected}.multiorder.fits,0"
    assert lvk_name(track, ".wilks.multiorder.fits", 0) == f"{track.stem}.wilks.multiorder.fits"
