"""Renders the chart by the real helm and reads the objects back."""

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
#: Files with values that the chart is tested with, by name.
CASES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}

Values = dict[str, Any]
Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm failed; the message is its standard error."""


def values(case: str) -> Values:
    """Return the values of a case without the defaults."""
    return yaml.safe_load(CASES[case].read_text()) or {}


def defaults() -> Values:
    found: Values = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def helm(*words: str | Path, given: Values | None = None) -> str:
    """Run helm and return its standard output."""
    done = subprocess.run(
        [HELM, *words, "--values", "-"],
        input=json.dumps(given or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"KUBECONFIG": os.devnull},  # rendering needs no cluster
    )
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


def render(given: Values | None = None, namespace: str = NAMESPACE) -> list[Manifest]:
    """Return all objects of the chart, including its hooks."""
    return list(_render(json.dumps(given or {}, sort_keys=True), namespace))


@functools.cache
def _render(given: str, namespace: str) -> tuple[Manifest, ...]:
    text = helm("template", RELEASE, CHART, "--namespace", namespace, given=json.loads(given))
    return tuple(one for one in yaml.safe_load_all(text) if one)


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and pod spec of all workloads."""
    for one in objects:
        if "template" in one.get("spec", {}):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]


def environment(workload: Manifest) -> dict[str, str]:
    """Return the environment variables of a workload's container."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def leaves(given: Values, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all values; an empty map and a list count as values."""
    for key, value in given.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def at(given: Values, path: tuple[str, ...]) -> Any:
    """Return the value at a path; raises KeyError if there is none."""
    found: Any = given
    for key in path:
        found = found[key]
    return found


def without(given: Values, path: tuple[str, ...]) -> Values:
    """Return the values without the one at a path."""
    first, *rest = path
    if not rest:
        return {key: value for key, value in given.items() if key != first}
    return given | {first: without(given[first], tuple(rest))}
