"""The custom resource definition, generated from the models: ``python -m skymap_api.crd`` prints it.

The API server requires a *structural* schema, a subset of OpenAPI 3.0: no references, no null, no titles, and a format
for every number. This module converts what pydantic generates (JSON Schema 2020-12).
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from skymap_api.names import GROUP, KIND, VERSION
from skymap_api.resource import SkymapScan
from skymap_api.resource.base import INT32

Schema = dict[str, Any]

HEADER = "# Made by `make generate` from api/skymap_api/resource: change it there.\n"

#: (name, type, path, description, only with -o wide)
_COLUMNS = (
    ("Phase", "string", ".status.phase", "Phase of the scan", False),
    ("Level", "integer", ".status.level", "Nside of the current level", False),
    ("Done", "string", ".status.progress", "Pixels done of those planned", False),
    ("RA", "number", ".status.best.ra", "Right ascension of the best fit (degrees)", False),
    ("Dec", "number", ".status.best.dec", "Declination of the best fit (degrees)", False),
    ("Area90", "number", ".status.best.area90", "Area of the 90 % region (square degrees)", False),
    ("Workers", "integer", ".status.workers.ready", "Workers that are ready", False),
    ("Busy", "integer", ".status.workers.busy", "Workers with a task in flight", True),
    ("Desired", "integer", ".status.workers.desired", "Desired workers", True),
    ("Priority", "string", ".spec.priority", "Whether its workers come before those of other scans", True),
    ("Backlog", "integer", ".status.backlog", "Fits that wait for a worker", True),
    ("ETA", "string", ".status.eta", "Estimated end of the scan", True),
    ("Degraded", "string", '.status.conditions[?(@.type=="Degraded")].reason', "Reason why the scan is degraded", True),
    ("Outcome", "string", '.status.conditions[?(@.type=="Succeeded")].reason', "Reason of the outcome", True),
    ("Age", "date", ".metadata.creationTimestamp", "Time since its creation", False),
)


def custom_resource_definition() -> Schema:
    """Return the definition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"skymapscans.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "skymapscans",
                "singular": "skymapscan",
                "shortNames": ["sms"],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": resource_schema()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.workers.max",
                            "statusReplicasPath": ".status.workers.ready",
                            "labelSelectorPath": ".status.workers.selector",
                        },
                    },
                    "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
                }
            ],
        },
    }


def resource_schema() -> Schema:
    """Return the structural schema of a SkymapScan."""
    schema = SkymapScan.model_json_schema(by_alias=True)
    whole = _structural(schema, schema["$defs"])
    # The API server validates these three itself.
    whole["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    whole["required"] = ["spec"]
    return whole


def to_yaml(definition: Schema) -> str:
    """Write the definition as the file in ``crds/``."""
    return HEADER + yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Repeats equal parts instead of writing anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is that of the method it overrides
        return True


def _column(name: str, kind: str, path: str, description: str, wide: bool) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | {"priority": 1} if wide else column


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return a schema and all its parts in structural form."""
    schema = _resolved(schema, definitions)
    kept: Schema = {}
    for key, value in schema.items():
        match key:
            case "title" | "$defs":
                pass
            case "default":  # that of an object is {}, which the API server fills with the defaults of its fields
                kept |= {} if value is None else {key: {} if "properties" in schema else _without_null(value)}
            case "description":
                kept[key] = " ".join(value.split())
            case "const":
                kept["enum"] = [value]
            case "exclusiveMinimum" | "exclusiveMaximum":  # in OpenAPI 3.0 a flag beside the bound
                kept |= {key.replace("exclusiveM", "m"): value, key: True}
            case "properties":
                kept[key] = {name: _structural(inner, definitions) for name, inner in value.items()}
            case "additionalProperties" if isinstance(value, bool):
                kept |= {"x-kubernetes-preserve-unknown-fields": True} if value else {}
            case "items" | "additionalProperties":
                kept[key] = _structural(value, definitions)
            case _:
                kept[key] = value
    kept |= _format(kept)
    return {key: kept[key] for key in sorted(kept, key=_place)}


def _without_null(default: Any) -> Any:
    """Return a default without fields that are not set: null is no value in a manifest."""
    if isinstance(default, list):
        return [_without_null(one) for one in default]
    if isinstance(default, dict):
        return {key: _without_null(value) for key, value in default.items() if value is not None}
    return default


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Replace ``$ref``, and ``anyOf`` with null, by the schema that is meant; keys beside them take precedence."""
    rest = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]] | rest, definitions)
    meant = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(meant) == 1:  # null stands for a field that is not given
        return _resolved(meant[0] | rest, definitions)
    return schema


def _format(schema: Schema) -> Schema:
    """Return the format of a number."""
    if schema.get("type") == "number":
        return {"format": "double"}
    if schema.get("type") == "integer":
        largest = max(schema["enum"]) if "enum" in schema else schema.get("maximum", INT32 + 1)
        return {"format": "int32" if largest <= INT32 else "int64"}
    return {}


_FIRST = ("description", "type", "format", "enum", "default")
_LAST = ("required", "properties", "additionalProperties", "items", "x-kubernetes-validations")


def _place(key: str) -> tuple[int, str]:
    """Return the sort key: description and type first, then bounds, then nested schemas."""
    if key in _FIRST:
        return _FIRST.index(key), ""
    return (len(_FIRST), key) if key not in _LAST else (len(_FIRST) + 1 + _LAST.index(key), "")


if __name__ == "__main__":
    sys.stdout.write(to_yaml(custom_resource_definition()))
