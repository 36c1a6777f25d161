from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from skymap_api.reference import describe_fields
from skymap_api.resource import Simulation, SkymapScan, SkymapScanSpec
from skymap_api.resource.base import Nside
from skymap_api.resource.spec import Reconstruction, Retries
from skymap_scanner.cli.manifest import read_manifest
from skymap_scanner.cli.run import command as run
from skymap_scanner.cli.worker import command as worker
from skymap_scanner.scan.levels import DEFAULT_LEVELS
from skymap_scanner.scan.pixels import MAX_NSIDE
from skymap_scanner.scan.plan_entries import MAX_RESIMULATIONS, MIN_RESIMULATIONS
from skymap_scanner.scan.seeds import VARIATIONS
from skymap_scanner.simulation import simulate

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["scan.yaml", "scan-full.yaml"])
def test_examples_are_valid_scans(name: str) -> None:
    path = ROOT / "examples" / name
    SkymapScan.model_validate(yaml.safe_load(path.read_text()))
    assert read_manifest(path).settings.name == yaml.safe_load(path.read_text())["metadata"]["name"]


def test_full_example_has_every_field() -> None:
    given = yaml.safe_load((ROOT / "examples/scan-full.yaml").read_text())["spec"]
    every = {field.alias for field in SkymapScanSpec.model_fields.values()}
    assert every - set(given) == {"pixels"}  # excluded by area


def test_resource_limits_match_those_of_the_scanner() -> None:
    """The operator does not import the scanner, so limits that both define are compared here."""
    assert max(get_args(Nside)) == MAX_NSIDE
    default = SkymapScanSpec.model_fields["levels"].default
    assert " ".join(map(str, default)) == DEFAULT_LEVELS
    attempts = next(option for option in worker.params if option.name == "max_attempts")
    seconds = next(option for option in worker.params if option.name == "max_task_seconds")
    assert Retries().task_attempts == attempts.default
    assert Reconstruction().max_task_seconds == seconds.default
    seeds = SkymapScanSpec.model_fields["seeds"]
    assert max(getattr(rule, "le", 0) for rule in seeds.metadata) == len(VARIATIONS)
    assert seeds.default == next(option for option in run.params if option.name == "seeds").default
    calibrate = SkymapScanSpec.model_fields["calibrate"]
    assert max(getattr(rule, "le", 0) for rule in calibrate.metadata) == MAX_RESIMULATIONS
    (rule,) = (rule for rule in SkymapScanSpec.rules if rule.field == "calibrate")
    assert f"self.calibrate >= {MIN_RESIMULATIONS}" in rule.cel
    assert set(Simulation.model_fields) <= set(inspect.signature(simulate).parameters)


@pytest.mark.parametrize(
    ("bounds", "written"),
    [
        ({"exclusiveMinimum": 0, "maximum": 180}, "number > 0, ≤ 180"),  # JSON Schema
        ({"minimum": 0, "exclusiveMinimum": True}, "number > 0"),  # a CRD
        ({"minimum": 0, "exclusiveMinimum": False}, "number ≥ 0"),
    ],
)
def test_strict_bounds_are_written_as_such(bounds: dict[str, Any], written: str) -> None:
    field = {"type": "number", "description": "A number.", **bounds}
    assert f"({written}" in describe_fields({"properties": {"a": field}})
