"""``compare`` and ``inside``, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result

from skymap_scanner.cli import group
from skymap_scanner.errors import InputError

#: Probability density of a map that is uniform in one base pixel, sr^-1.
ONE_PIXEL = 3 / np.pi


@pytest.fixture
def maps(tmp_path: Path) -> list[Path]:
    """Two maps that share one of their two base pixels."""
    paths = []
    for name, uniq in (("one", [4, 5]), ("other", [5, 6])):
        columns = [
            fits.Column(name="UNIQ", format="K", array=np.array(uniq)),
            fits.Column(name="PROBDENSITY", format="D", array=np.full(2, ONE_PIXEL / 2)),
        ]
        table = fits.BinTableHDU.from_columns(columns)
        table.header.update({"COORDSYS": "C", "OBJECT": name})
        paths.append(tmp_path / f"{name}.fits")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(paths[-1])
    return paths


def call(*words: object) -> Result:
    return CliRunner().invoke(group, list(map(str, words)))


def test_compare_prints_and_writes_what_it_found(maps: list[Path], tmp_path: Path) -> None:
    figures, product, picture = tmp_path / "figures.json", tmp_path / "both.fits", tmp_path / "both.png"
    done = call("compare", *maps, "--json", figures, "--product", product, "-o", picture)
    assert done.exit_code == 0, done.output
    assert "A: one\n" in done.output
    assert "90% regions: A 6880 deg2, B 6880 deg2, both 3440 deg2" in done.output
    assert "  50.0% of A's, 50.0% of B's; Jaccard index 0.333" in done.output
    content = json.loads(figures.read_text())
    assert content["bayes_factor"] == pytest.approx(3)
    assert content["regions"][0]["share_a"] == pytest.approx(0.5)
    assert picture.read_bytes().startswith(b"\x89PNG")
    inside = call("inside", product, "--circle", "135,41.8,60")
    assert "Probability inside: 1\n" in inside.output


def test_inside_prints_probability_of_a_circle_or_moc(maps: list[Path], tmp_path: Path) -> None:
    moc = tmp_path / "moc.json"
    moc.write_text('{"1": [0, 1], "0": [1, 7]}')
    done = call("inside", maps[0], "--moc", moc)
    assert done.exit_code == 0, done.output
    assert "Probability inside: 0.75\nArea: 8590 deg2\n" in done.output
    assert "Probability inside: 0\n" in call("inside", maps[0], "--circle", "10.5,-80,2").output


@pytest.mark.parametrize("words", [[], ["--circle", "1,2,3", "--moc", __file__]])
def test_inside_needs_one_field(maps: list[Path], words: list[str]) -> None:
    done = call("inside", maps[0], *words)
    assert done.exit_code == 2
    assert "give either --circle or --moc" in done.output


@pytest.mark.parametrize("circle", ["", "1,2", "1,2,3,4", "a,b,c", "1;2;3"])
def test_circle_that_is_not_three_numbers_is_rejected(maps: list[Path], circle: str) -> None:
    done = call("inside", maps[0], "--circle", circle)
    assert isinstance(done.exception, InputError)
    assert "is not RA,DEC,RADIUS: three numbers, deg" in str(done.exception)


def test_names_of_foreign_maps_cannot_steer_the_terminal(maps: list[Path], tmp_path: Path) -> None:
    content = maps[0].read_bytes().replace(b"OBJECT  = 'one   ", b"OBJECT  = 'o\x1b[2Je")
    path = tmp_path / "hostile.fits"
    path.write_bytes(content)
    done = call("compare", path, maps[1])
    assert "\x1b" not in done.output


def test_product_of_maps_without_overlap_is_one_error(maps: list[Path], tmp_path: Path) -> None:
    apart = tmp_path / "apart.fits"
    with fits.open(maps[0]) as file:
        file[1].data["UNIQ"] = [14, 15]
        file.writeto(apart)
    done = call("compare", maps[0], apart, "--product", tmp_path / "both.fits")
    assert isinstance(done.exception, InputError)
    assert "have no product" in str(done.exception)
    assert not (tmp_path / "both.fits").exists()


def test_picture_of_another_kind_is_rejected_before_the_maps(tmp_path: Path) -> None:
    empty = tmp_path / "empty.fits"
    empty.touch()
    done = call("compare", empty, empty, "-o", tmp_path / "picture.pdf")
    assert isinstance(done.exception, InputError)
    assert "pictures are PNG" in str(done.exception)
