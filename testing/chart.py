"""The chart as tests use it: rendered by the real helm, read back as objects."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "skymap-scanner"
HELM = ROOT / "helm" / "helm.sh"
RELEASE, NAMESPACE = "skymap", "scanner"
#: The values that the chart is checked with, by their names.
CASES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}

Values = dict[str, Any]
Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refuses; the message is what it said."""


def values(case: str) -> Values:
    """The values of a case, without the defaults."""
    return yaml.safe_load(CASES[case].read_text()) or {}


def defaults() -> Values:
    found: Values = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def helm(*words: str | Path, given: Values | None = None) -> str:
    """Run helm; return what it printed."""
    done = subprocess.run(
        [HELM, *words, "--values", "-"],
        input=json.dumps(given or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"KUBECONFIG": os.devnull},  # a chart is rendered without a cluster
    )
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


def render(given: Values | None = None, namespace: str = NAMESPACE) -> list[Manifest]:
    """All objects of the chart, those of its hooks too."""
    return list(_render(json.dumps(given or {}, sort_keys=True), namespace))


@functools.cache
def _render(given: str, namespace: str) -> tuple[Manifest, ...]:
    text = helm("template", RELEASE, CHART, "--namespace", namespace, given=json.loads(given))
    return tuple(one for one in yaml.safe_load_all(text) if one)


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pod specs of all workloads."""
    for one in objects:
        if "template" in one.get("spec", {}):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]


def environment(workload: Manifest) -> dict[str, str]:
    """What the first container of a workload has as variables."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def leaves(given: Values, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all values; an empty map is one, and so is a list."""
    for key, value in given.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def at(given: Values, path: tuple[str, ...]) -> Any:
    """The value at a path; KeyError where there is none."""
    found: Any = given
    for key in path:
        found = found[key]
    return found


def without(given: Values, path: tuple[str, ...]) -> Values:
    """The values but for the one at a path."""
    first, *rest = path
    if not rest:
        return {key: value for key, value in given.items() if key != first}
    return given | {first: without(given[first], tuple(rest))}
