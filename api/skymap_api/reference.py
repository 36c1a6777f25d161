"""Reference of the SkymapScan resource, from its models: ``python -m skymap_api.reference`` prints the page."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.alias_generators import to_camel

from skymap_api.crd import resource_schema
from skymap_api.names import API_VERSION
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import CLUSTER_ONLY, Model

Schema = dict[str, Any]

#: Width of the lines of a page.
WIDTH = 118


def reference() -> str:
    """Return the fields of spec and status as a Markdown page, one section for each part of the resource."""
    schema = resource_schema()["properties"]
    sections = [section for name in ("spec", "status") for section in _sections(name, schema[name])]
    elsewhere = "".join(f"- `{path}`\n" for path in _cluster_only(SkymapScanSpec))
    return "\n".join(
        [
            "# SkymapScan\n",
            f"Every field of a SkymapScan, `{API_VERSION}`.",
            "[Describe a scan in a manifest](../how-to/write-a-manifest.md) shows how to write one.",
            "[Conditions and reasons](conditions.md) explains the conditions of its status.\n",
            *sections,
            "## Fields for clusters only\n",
            "On one machine, `skymap-scanner run` accepts these fields of spec and ignores them:\n",
            elsewhere,
        ]
    )


def _cluster_only(model: type[Model], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = prefix + to_camel(name)
        if CLUSTER_ONLY in field.metadata:
            yield path
            continue
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Model):
                yield from _cluster_only(part, f"{path}.")


#: Fields whose inside is Kubernetes' own.
KUBERNETES = ("affinity",)


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """Give the table of one object, then those of the objects in it."""
    yield f"## {path}\n\n{_wrap(schema['description'])}\n{describe_fields(schema)}{_rules(schema)}"
    for name, field in schema["properties"].items():
        inner, suffix = (field["items"], "[]") if field.get("type") == "array" else (field, "")
        if "properties" in inner and name not in KUBERNETES:
            yield from _sections(f"{path}.{name}{suffix}", inner)


def _rules(schema: Schema) -> str:
    messages = [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"]]
    return "\nRules:\n\n" + "".join(_item(message) for message in messages) if messages else ""


def describe_fields(schema: Schema) -> str:
    """Return the fields of a CRD's or a JSON schema's object as a Markdown list, with type, default and description."""
    required, definitions = schema.get("required", ()), schema.get("$defs", {})
    fields = {name: _inline(field, definitions) for name, field in schema["properties"].items()}
    return "".join(_field(name, field, name in required) for name, field in fields.items())


def _inline(schema: Any, definitions: Schema) -> Any:
    """Put enumerations in the place of references to them, and of other references the name of what they refer to."""
    if isinstance(schema, list):
        return [_inline(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref", "").rpartition("/")[2]
    target = definitions.get(name, {})
    known = target if "enum" in target else {"type": name, "description": target.get("description", "")} if name else {}
    return known | {key: _inline(value, definitions) for key, value in schema.items() if key != "$ref"}


def _field(name: str, field: Schema, required: bool) -> str:
    default = f"default `{json.dumps(field['default'])}`" if field.get("default") not in (None, {}) else ""
    notes = ", ".join(note for note in (describe_type(field), "required" if required else default) if note)
    return _item(f"**`{name}`** ({notes}): {field['description']}")


def _item(text: str) -> str:
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False) + "\n"


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False) + "\n"


def describe_type(field: Schema) -> str:
    """Name the type of a field and its bounds."""
    match field:
        case {"x-kubernetes-int-or-string": True}:
            kind = "quantity"
        case {"const": value}:
            kind = f"`{value}`"
        case {"anyOf": kinds}:
            kind = " or ".join(describe_type(one) for one in kinds)
        case {"enum": values}:
            kind = " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            kind = f"list of {describe_type(items)}"
        case {"additionalProperties": dict(values)}:
            kind = f"map to {describe_type(values)}"
        case {"format": "date-time"}:
            kind = "time"
        case {"type": name}:
            kind = f"{name}{_bounds(field)}"
        case _:
            kind = "number, text, true or false"
    return kind


def _bounds(field: Schema) -> str:
    """Write the bounds that are not just those of the format: ``≥ 1``, ``< 360``."""
    bounds = []
    for key, strict, weak in (("inimum", ">", "≥"), ("aximum", "<", "≤")):
        exclusive = field.get(f"exclusiveM{key}")  # a flag in a CRD, the bound itself in JSON Schema
        bound = field.get(f"m{key}", exclusive)
        if bound is not None and bound != 2**31 - 1:
            bounds.append(f"{weak if exclusive is None or exclusive is False else strict} {bound:.10g}")
    return f" {', '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - the page is the output
