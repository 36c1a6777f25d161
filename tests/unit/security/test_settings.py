"""Scans and manifests that would fill the memory of their reader: each is one immediate error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from testing.manifests import cases
from tests.unit.operator.recipes import made
from tests.unit.security.conftest import at_most

from skymap_api.resource import SkymapScanSpec
from skymap_operator.manifests import config_map
from skymap_scanner.cli.manifest import read_manifest
from skymap_scanner.cli.yaml_documents import read_documents
from skymap_scanner.errors import InputError
from skymap_scanner.scan.levels import Level, first_pixels, parse_area, parse_levels
from skymap_scanner.scan.pixels import MAX_PIXELS, read_ranges


@pytest.mark.parametrize(
    ("levels", "area", "indices", "words"),
    [
        ("1024:0", None, None, "1024:0: 12582912 pixels, more than the 3145728 that a level may have"),
        ("8192:0", None, None, "8192:0: 805306368 pixels, more than"),
        ("8192:0", "1,0,5", None, "an area needs nside 1024 or less"),
        ("8192:0", "1,0,5", [3], "an area needs nside 1024 or less"),
        ("1024:0", "1,0,9999999", None, "9999999 pixels, more than"),
    ],
)
def test_level_with_too_many_pixels_is_rejected(
    levels: str, area: str | None, indices: list[int] | None, words: str
) -> None:
    with at_most(1), pytest.raises(InputError, match=words):
        first_pixels(parse_levels(levels)[0], None if area is None else parse_area(area), indices)


def test_memory_of_a_pixel_list_does_not_depend_on_nside() -> None:
    with at_most(1):
        assert len(first_pixels(Level(8192, 0), None, [5, 805306367])) == 2


@pytest.mark.parametrize("levels", ["8:0 8192:12", "8:0 1024:768 8192:999999999", "1:0 512:12 1024:999999999"])
def test_refinement_to_too_many_pixels_is_rejected(levels: str) -> None:
    with pytest.raises(InputError, match=r"refines to \d+ pixels, more than the 3145728"):
        parse_levels(levels)


def test_usual_levels_are_accepted() -> None:
    for levels in ("8:0 64:12 512:24", "512:0", "8:0 64:768 512:768", "1:0 2:12 4:48 8:192 8192:2"):
        assert parse_levels(levels)


@pytest.mark.parametrize("ranges", ["0-805306367", "0-3145728", "5,0-3145727"])
def test_range_of_too_many_pixels_is_rejected(ranges: str) -> None:
    with at_most(1), pytest.raises(InputError, match=f"more than the {MAX_PIXELS} pixels"):
        read_ranges(ranges)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "has more than 100000 values once its aliases are expanded"),
        ("a: &a [*a]", "has more than 100000 values"),
        ("a: &a {b: *a}", "has more than 100000 values"),
        ("[" * 2_000, "nested too deeply"),
        ("{a: " * 10_000, "nested too deeply"),
        ("- " * 10_000, "nested too deeply|is not YAML"),
        ("x" * (2 << 20), "larger than 1048576 bytes"),
        ("!!python/object/apply:os.system [id]", "is not YAML: could not determine a constructor"),
        ("a: 1\na: 2", "duplicate key 'a'"),
    ],
    ids=["laughs", "itself", "itself in itself", "lists", "maps", "items", "size", "a program", "twice"],
)
def test_manifest_bombs_are_one_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "scan.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_documents(tmp_path / "scan.yaml")


def test_small_aliases_are_expanded(tmp_path: Path) -> None:
    text = json.dumps(cases.manifest({"event": {"simulate": {}}}))
    (tmp_path / "scan.yaml").write_text(f'{text[:-1]}, "status": {{}}}}')
    assert read_manifest(tmp_path / "scan.yaml").settings.name == "alert"
    (tmp_path / "alias.yaml").write_text("a: &a {b: 1}\nc: *a\nd: [*a, *a]")
    assert read_documents(tmp_path / "alias.yaml") == [{"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}]


def longest() -> dict[str, Any]:
    """Return a spec in which everything has its maximum length."""
    template = {
        "labels": {f"l{number}": "x" * 63 for number in range(32)},
        "annotations": {f"a{number}": "x" * 1024 for number in range(16)},
        "nodeSelector": {f"n{number}": "x" * 63 for number in range(32)},
        "tolerations": [{"key": f"{'d' * 189}/{'x' * 63}", "value": "x" * 63}] * 32,
        "imagePullSecrets": [{"name": f"s{number}"} for number in range(16)],
    }
    return {
        "event": {"url": "http://h/" + "x" * 2030, "credentialsSecret": {"name": "x" * 253}},
        "levels": [{"nside": 2**number, "parents": int(number > 0)} for number in range(14)],
        "pixels": [11] * 4096,
        "reconstruction": {"parameters": {f"p{number}": "x" * 1024 for number in range(64)}},
        "workers": {"podTemplate": template},
        "podTemplate": template,
        "output": {"path": "x" * 1024},
    }


def test_longest_scan_fits_a_config_map_in_any_script() -> None:
    """A ConfigMap holds 1 MiB; JSON writes a character beyond the BMP as 12 bytes."""
    spec = json.loads(json.dumps(longest()).replace("x" * 768, "\\ud83c\\udf0c" * 768))
    text = config_map(made(spec))["data"]["scan.yaml"]
    assert 200_000 < len(text) < 1 << 20


def test_longest_scan_fits_etcd_and_a_command_line() -> None:
    spec = SkymapScanSpec.model_validate(longest())
    stored = len(json.dumps(cases.manifest(longest(), "x" * 253)))
    assert (
        stored < 400_000
    )  # etcd accepts 1.5 MiB, and the status and the last applied configuration are stored with it
    words = sum(len(json.dumps(value)) for value in spec.reconstruction.parameters.values())
    assert words < 128 * 1024  # Linux's limit for one argument, far below that for all arguments
