"""Sources in the regions: the same as by the contours' own polygons."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from click.testing import CliRunner
from matplotlib.figure import Figure

from skymap_scanner.cli.plot import command as plot
from skymap_scanner.cli.sources import command
from skymap_scanner.errors import InputError
from skymap_scanner.results import write_results
from skymap_scanner.results.catalogue import Catalogue
from skymap_scanner.results.contours import contours
from skymap_scanner.results.overlay import circle_line
from skymap_scanner.results.plot_overlay import draw_sources
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.sources import find_sources, sources_text


@pytest.mark.parametrize("place", [(138.65, 0.15, 0.3), (0.05, -35.0, 0.5), (40.0, 89.8, 0.6)])
def test_sources_are_in_the_regions_that_contain_them(scan, bowl, place):
    skymap = multi_order_map(scan(bowl(*place)))
    regions = contours(skymap)
    random = np.random.default_rng(3)
    turn, reach = random.uniform(0, 360, 60) * u.deg, random.uniform(0, 2, 60) * u.deg
    near = SkyCoord(place[0], place[1], unit="deg").directional_offset_by(turn, reach)
    ra, dec = near.ra.deg, near.dec.deg
    found = find_sources(skymap, regions, Catalogue("c", [str(row) for row in range(60)], ra, dec), nearest=60)
    distance = SkyCoord(skymap.best.ra, skymap.best.dec, unit="deg").separation(near).deg
    assert [int(source.name) for source in found.nearest] == np.argsort(distance).tolist()
    assert len(found.nearest) == found.total == 60
    levels = {region.credible_level: region for region in regions}
    for source in found.nearest:
        row = int(source.name)
        assert source.distance == pytest.approx(distance[row], abs=1e-9)
        inside = [level for level in (0.5, 0.9) if levels[level].contains(ra[row], dec[row])]
        assert source.credible_level == (min(inside) if inside else None)
    assert found.inside == [source for source in found.nearest if source.credible_level]
    assert {source.credible_level for source in found.nearest} == {0.5, 0.9, None}


def test_empty_catalogue_has_no_sources(track):
    skymap = multi_order_map(track)
    found = find_sources(skymap, contours(skymap), Catalogue("c", [], np.empty(0), np.empty(0)))
    assert (found.inside, found.nearest) == ([], [])
    assert "0 sources with a position" in sources_text(found, [])


def test_command_lists_sources_as_text_and_json(track, tmp_path):
    write_results(track, tmp_path, ["npz", "json", "moc"])
    (tmp_path / "c.csv").write_text("name,RA,Dec\nnear,138.61,0.2\nedge,138.9,0.6\nfar,200,10\n")
    done = CliRunner().invoke(command, [str(tmp_path), str(tmp_path / "c.csv"), "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[:3] == [
        "Catalogue: c.csv, 3 sources with a position",
        "In the 50% region of 0.400 deg2: 1",
        "In the 90% region of 1.31 deg2: 2",
    ]
    assert lines[3] == "  near: RA 138.61, Dec +0.20, 0.05 deg away, 50% region"
    assert lines[-1] == "  far: RA 200.00, Dec +10.00, 61.84 deg away, outside"
    content = json.loads((tmp_path / "found.json").read_text())
    assert [source["name"] for source in content["inside"]] == ["near", "edge"]
    assert content["total"] == 3


def test_plot_draws_sources_and_circle_only_on_request(track, tmp_path):
    (result,) = write_results(track, tmp_path, ["npz"])
    (tmp_path / "c.csv").write_text("name,RA,Dec\nBlazar $x$,138.61,0.2\nfar,200,10\nbehind,318.6,-0.1\n")
    drawn = {}
    for name, words in {"none": [], "both": ["--catalog", str(tmp_path / "c.csv"), "--circle", "138.5,0,1.5"]}.items():
        done = CliRunner().invoke(plot, [str(result), "-o", str(tmp_path / name), "--image", "svg", *words])
        assert done.exit_code == 0, done.output
        drawn[name] = [path.read_text() for path in sorted((tmp_path / name).iterdir())]
    (sky, near), (plain_sky, plain_near) = drawn["both"], drawn["none"]
    assert "<!-- c.csv -->" in near
    assert "c.csv" not in sky + plain_near
    assert "Circle" in near
    assert "Circle" in sky
    assert "Circle" not in plain_sky + plain_near


def test_sources_in_the_picture_are_marked_and_named(track):
    skymap = multi_order_map(track)
    names = ["Blazar $x$", "far", "behind", "\u4e2d"]
    catalogue = Catalogue("c", names, np.array([138.61, 200, 318.6, 139.5]), np.array([0.2, 10, -0.1, 1.0]))
    axes = Figure().add_axes((0, 0, 1, 1))
    draw_sources(axes, skymap, contours(skymap), catalogue, 3.0)
    assert [text.get_text() for text in axes.texts] == ["Blazar $x$", "\\u4e2d"]
    assert not any(text.get_parse_math() for text in axes.texts)
    assert len(axes.lines) == 3, "two marks, and that of the legend"


@pytest.mark.parametrize("circle", ["nan,0,1", "10,91,1", "10,0,0", "10,0,181", "1,2", "inf,0,1"])
def test_impossible_circle_is_a_clear_error(track, tmp_path, circle):
    (result,) = write_results(track, tmp_path, ["npz"])
    done = CliRunner().invoke(plot, [str(result), "-o", str(tmp_path), "--circle", circle])
    assert isinstance(done.exception, InputError)


def test_line_of_a_circle_has_its_radius():
    for place in ((0.1, -35.0, 1.5), (200.0, 89.9, 2.0), (10.0, 5.0, 120.0)):
        line = SkyCoord(*circle_line(*place).T, unit="deg")
        assert line.separation(SkyCoord(*place[:2], unit="deg")).deg == pytest.approx(place[2], abs=1e-9)


def test_map_without_pixels_is_a_clear_error(track, tmp_path):
    (path,) = write_results(track, tmp_path, ["fits"])
    (tmp_path / "c.csv").write_text("ra,dec\n1,2\n")
    done = CliRunner().invoke(command, [str(path), str(tmp_path / "c.csv")])
    assert "give the JSON or npz file of a scan" in str(done.exception)
