"""The table of fields in ``docs/skymapscan.md``: ``python -m skymap_api.reference FILE`` renews it in place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic.alias_generators import to_camel

from skymap_api.crd import resource_schema
from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.base import CLUSTER_ONLY, Model

BEGIN, END = "<!-- fields: made by make crds -->\n", "<!-- end of fields -->\n"

Schema = dict[str, Any]


def with_reference(page: str) -> str:
    """Return the page with the text between the two marks made anew.

    Raises
    ------
    ValueError
        If a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return the fields of spec and status as Markdown tables, one for each part of the resource."""
    schema = resource_schema()["properties"]
    sections = [section for name in ("spec", "status") for section in _sections(name, schema[name])]
    elsewhere = ", ".join(f"`{path}`" for path in _cluster_only(SkymapScanSpec))
    return f"Only a cluster makes use of {elsewhere}.\n\n" + "\n".join(sections)


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
    required = schema.get("required", ())
    rows = [_row(name, field, name in required) for name, field in schema["properties"].items()]
    table = ["| field | type | default | |", "|---|---|---|---|", *rows]
    yield f"### {path}\n\n{schema['description']}\n\n" + "\n".join(table) + "\n" + _rules(schema)
    for name, field in schema["properties"].items():
        inner, suffix = (field["items"], "[]") if field.get("type") == "array" else (field, "")
        if "properties" in inner and name not in KUBERNETES:
            yield from _sections(f"{path}.{name}{suffix}", inner)


def _rules(schema: Schema) -> str:
    messages = [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"]]
    return "\nMust hold:\n\n" + "".join(f"- {message}\n" for message in messages) if messages else ""


def _row(name: str, field: Schema, required: bool) -> str:
    default = f"`{json.dumps(field['default'])}`" if field.get("default") not in (None, {}) else ""
    text = field["description"].replace("|", "\\|")
    return f"| `{name}` | {_type(field)} | {'required' if required else default} | {text} |"


def _type(field: Schema) -> str:
    """Name the type of a field and its bounds."""
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "type" not in field:
        return "number, text, true or false"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}"
    kind = "time" if field.get("format") == "date-time" else field["type"]
    return f"{kind}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    """Write the bounds that are not just those of the format: ``≥ 1``, ``< 360``."""
    bounds = []
    if "minimum" in field:
        bounds.append(f"{'>' if field.get('exclusiveMinimum') else '≥'} {field['minimum']:g}")
    if "maximum" in field and field["maximum"] != 2**31 - 1:
        bounds.append(f"{'<' if field.get('exclusiveMaximum') else '≤'} {field['maximum']:.10g}")
    return f" {', '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_reference(file.read_text()))
