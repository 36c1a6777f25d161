from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testing.manifests import cases, changes, rules

from skymap_api.crd import custom_resource_definition, resource_schema, to_yaml
from skymap_api.resource import SkymapScanSpec

LEVELS = [
    {"nside": 4, "parents": 0},
    {"nside": 8, "parents": 192, "probability": 0.9999},
    *({"nside": nside, "parents": 192, "probability": 0.999} for nside in (16, 32, 64, 128)),
    {"nside": 256, "parents": 192, "probability": 0.99},
    {"nside": 512, "parents": 192, "probability": 0.98},
]
ROOT = Path(__file__).resolve().parents[3]
SPEC = resource_schema()["properties"]["spec"]


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside a schema, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from parts(schema[key], f"{path}[]")


def test_crd_is_current() -> None:
    assert (ROOT / "crds/skymapscans.yaml").read_text() == to_yaml(custom_resource_definition()), "run: make generate"
    assert yaml.safe_load(to_yaml(custom_resource_definition())) == custom_resource_definition()


def test_definition_can_be_applied_by_kubectl() -> None:
    """Client-side apply stores the whole object in an annotation, and all annotations have at most 256 KiB."""
    assert len(json.dumps(custom_resource_definition())) < 250 * 1024


def test_schema_is_structural() -> None:
    own = {"x-kubernetes-validations", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
    own |= {"x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
    allowed = {"description", "type", "format", "enum", "default", "pattern", "required", "properties", "items"}
    allowed |= {f"{bound}{what}" for bound in ("min", "max") for what in ("imum", "Length", "Items", "Properties")}
    allowed |= {"exclusiveMinimum", "exclusiveMaximum", "additionalProperties"}
    for path, schema in parts(resource_schema()):
        quantity = schema.get("x-kubernetes-int-or-string", False)
        assert set(schema) - own - allowed - ({"anyOf"} if quantity else set()) == set(), path
        # A number or a text; the schema forbids nesting.
        scalar = (schema.get("maxItems"), schema.get("maxProperties")) == (0, 0)
        assert quantity or scalar or schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}, (
            path
        )
        assert not {"properties", "additionalProperties"} <= set(schema), path
        if schema.get("type") in {"integer", "number"}:
            assert schema["format"] in {"int32", "int64", "double"}, path


def test_nesting_is_bounded() -> None:
    """Python cannot read JSON that is nested 1000 times: one such scan would hide all others."""
    kept = [
        (path, schema) for path, schema in parts(resource_schema()) if "x-kubernetes-preserve-unknown-fields" in schema
    ]
    assert [path for path, schema in kept if (schema.get("maxItems"), schema.get("maxProperties")) != (0, 0)] == []
    assert kept


def test_every_field_has_a_description() -> None:
    own = {".apiVersion", ".kind", ".metadata"}
    unexplained = [
        path
        for path, schema in parts(resource_schema())
        if not path.endswith("[]") and path not in own and not schema.get("description", "").endswith(".")
    ]
    assert unexplained == []


def test_immutable_fields_are_described_as_immutable() -> None:
    described = {
        name for name, field in SPEC["properties"].items() if field["description"].endswith("Cannot be changed.")
    }
    named = {SkymapScanSpec.model_fields[name].alias for name in SkymapScanSpec.immutable}
    assert described == named


def test_fields_used_by_rules_are_bounded() -> None:
    """Without bounds the API server assumes the worst case and rejects a rule as too expensive."""
    for path, schema in parts(SPEC):
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if schema.get("type") == "string" and "enum" not in schema:
            assert "maxLength" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["event", "configMap", "key"], "event.json"),
        (["seeds"], 3),
        (["workers"], {}),
        (["workers", "max"], 100),
        (["reconstruction", "maxTaskSeconds"], 600),
        (["levels"], LEVELS),
    ],
)
def test_schema_defaults_match_the_models(path: list[str], expected: Any) -> None:
    schema = SPEC
    for name in path:
        schema = schema["properties"][name]
    assert schema["default"] == expected


def test_object_defaults_match_the_defaults_of_their_fields() -> None:
    filled = rules.with_defaults(cases.URL, SPEC)
    wanted = SkymapScanSpec.model_validate(cases.URL).model_dump(mode="json", by_alias=True, exclude_none=True)
    wanted["workers"]["max"] = 100
    assert filled == wanted


def test_rules_hold_on_the_default_of_their_object_as_it_is() -> None:
    """The API server evaluates them on {}, without the defaults of the fields, and otherwise rejects the definition."""
    defaults = [(path, schema) for path, schema in parts(SPEC) if isinstance(schema.get("default"), dict)]
    assert {".output", ".output.claim", ".workers"} <= {path for path, _ in defaults}
    for path, schema in defaults:
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rules.holds(rule["rule"], schema["default"], schema["default"]), (path, rule)


def test_columns_and_subresources_refer_to_fields() -> None:
    version = custom_resource_definition()["spec"]["versions"][0]
    properties = resource_schema()["properties"]
    places = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    places += version["subresources"]["scale"].values()
    for place in places:
        schema: Any = {"properties": properties}
        for name in place.partition("[")[0].strip(".").split("."):
            if schema.get("properties") == {} or name == "creationTimestamp":
                break
            schema = schema["properties"].get(name, {}) if name != "metadata" else {"properties": {}}
            assert schema, place


@pytest.mark.parametrize("case", cases.ACCEPTED, ids=lambda case: case.name)
def test_rules_allow_every_valid_manifest(case: cases.Accepted) -> None:
    assert rules.complaints(SPEC, case.spec) == []
    assert rules.complaints(SPEC, case.spec, case.spec) == []


@pytest.mark.parametrize("case", [case for case in cases.REFUSED if case.message], ids=lambda case: case.name)
def test_rules_reject_every_invalid_manifest(case: cases.Refused) -> None:
    found = rules.complaints(SPEC, case.spec)
    assert [one.startswith(f"spec.{case.field}: {case.message}") for one in found] == [True]


def last(field: str) -> str:
    """Return the name of a field without the path to it."""
    return field.rpartition(".")[2]


@pytest.mark.parametrize("case", changes.CHANGES, ids=lambda case: case.name)
def test_rules_allow_valid_changes_only(case: changes.Change) -> None:
    wanted = [] if case.field is None else [f"spec.{case.field}: {last(case.field)} {changes.UNCHANGED}"]
    assert rules.complaints(SPEC, case.new, case.old) == wanted


def test_every_rule_has_a_test_case() -> None:
    messages = {case.message for case in cases.REFUSED} - {""}
    messages |= {f"{last(case.field)} {changes.UNCHANGED}" for case in changes.CHANGES if case.field}
    untested = [
        rule["message"] for rule in rules.rules(SPEC) if not any(rule["message"].startswith(one) for one in messages)
    ]
    assert untested == []


OUTPUTS = {"claim": "alert-results", "path": "alert"}


@pytest.mark.parametrize(
    ("status", "output", "rejected"),
    [
        (None, {"path": "elsewhere"}, False),
        ({}, {"path": "elsewhere"}, False),
        ({"outputs": OUTPUTS}, {"path": "elsewhere"}, True),
        ({"outputs": OUTPUTS}, {"formats": ["json"]}, True),
        ({"outputs": OUTPUTS}, {}, False),
    ],
)
def test_output_cannot_change_once_it_is_written(status: Any, output: Any, *, rejected: bool) -> None:
    old, new = ({"spec": cases.URL | {"output": one}} for one in ({}, output))
    state = {} if status is None else {"status": status}
    schema = resource_schema()
    whole = {key: schema[key] for key in ("x-kubernetes-validations",)}
    found = rules.complaints(whole, new | state, old | state)
    assert [one.startswith("spec.spec.output: output cannot be changed any more") for one in found] == [True] * rejected
