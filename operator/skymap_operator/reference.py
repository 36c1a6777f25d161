"""Reference pages of the operator, from its own code: ``python -m skymap_operator.reference settings|metrics``."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from skymap_api.names import NamespacedName
from skymap_api.pulsar_statistics import Subscription
from skymap_api.reference import describe_fields, describe_type
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Phase, Pixels, Reason, WorkersStatus
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.runtime.metrics import Metrics, Result, ScanFigures
from skymap_operator.runtime.workqueue import Load, Trigger
from skymap_operator.settings import PREFIX, Settings

#: Values of the labels, where the code fixes them.
LABELS: dict[str, Iterable[str]] = {
    "result": Result,
    "trigger": Trigger,
    "direction": Direction,
    "cause": Cause,
    "phase": Phase,
    "reason": Reason,
}

#: Objects whose fields are described; those of the others are parts of a SkymapScan.
_WITH_FIELDS = ("AllowedInPods", "AllowedPulsar", "NoticeDestination")


def settings_page() -> str:
    """Return the page of the operator's settings as Markdown."""
    schema = Settings.model_json_schema()
    intro = (
        "The operator reads its settings from environment variables when it starts.\n"
        "An unknown, missing or invalid variable stops it with a message that names the variable.\n"
        "An empty variable counts as not set. Lists and objects are written as JSON.\n\n"
        "The Helm chart sets these variables from its values; see\n"
        "[Install the operator](../how-to/install-the-operator.md).\n"
    )
    required = schema["required"]
    sections = (_setting(name, field, name in required, schema) for name, field in schema["properties"].items())
    return "\n".join(["# Operator settings\n", intro, *sections])


def _setting(name: str, field: dict[str, Any], required: bool, schema: dict[str, Any]) -> str:
    quantity = "x-kubernetes-int-or-string" in field  # its two types are one
    kinds = [field] if quantity else [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    listed = kinds[0].get("items", {})
    model = (listed if listed.get("$ref") else kinds[0]).get("$ref", "").rpartition("/")[2]
    kind = describe_type(schema["$defs"][model] if model else kinds[0])
    kind = f"list of {kind}" if listed.get("$ref") else kind
    default = field.get("default")
    value = "none, required" if required else "none" if default in (None, []) else f"`{_plain(default)}`"
    text = textwrap.fill(field["description"], 118, break_long_words=False)
    if model in _WITH_FIELDS and not listed:
        value = "those of its fields"
    fields = f"\nFields:\n\n{describe_fields(schema['$defs'][model])}" if model in _WITH_FIELDS else ""
    return f"## {PREFIX}{name.upper()}\n\n{text}\n\n- Type: {kind}\n- Default: {value}\n{fields}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_without_null(value))


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return value


def metrics_page() -> str:
    """Return the page of the operator's metrics as Markdown."""
    intro = (
        "The operator serves these metrics at `/metrics` on port 8080, in Prometheus' text format.\n"
        "The metrics `skymap_scan_…` describe one scan each, by the labels `namespace` and `scan`.\n"
        "They are shown only with `metrics.scans` of the chart, and disappear with the scan.\n"
    )
    families = text_string_to_metric_families(_sample().text(Load()).decode())
    sections = (_metric(family) for family in families if not family.name.endswith("_created"))
    values = (f"- `{label}`: {_listed(some)}" for label, some in LABELS.items())
    wrapped = "".join(textwrap.fill(line, 118, subsequent_indent="  ") + "\n" for line in values)
    return "\n".join(["# Metrics\n", intro, *sections, f"## Values of the labels\n\n{wrapped}"])


def _metric(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    text = textwrap.fill(family.documentation, 118)
    return f"## {name}\n\n{text}\n\n- Type: {family.type}\n- Labels: {_listed(labels) or 'none'}\n"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _sample() -> Metrics:
    """Return metrics in which every family has a sample, so that its labels show."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    metrics = Metrics(lambda: now)
    metrics.scaled(Direction.UP, Cause.WORK)
    metrics.requested("kubernetes", "GET", 200)
    conditions = (
        Condition(type=ConditionType.DEGRADED, status="True", last_transition_time=now, reason=Reason.UNSCHEDULABLE),
        Condition(type=ConditionType.SUCCEEDED, status="False", last_transition_time=now, reason=Reason.ROLE_FAILED),
        Condition(type=ConditionType.NOTIFIED, status="False", last_transition_time=now, reason=Reason.NOTICES_FAILED),
    )
    status = SkymapScanStatus(
        phase=Phase.SCANNING,
        conditions=conditions,
        workers=WorkersStatus(desired=1),
        pixels=Pixels(planned=1),
        start_time=now,
        eta=now,
    )
    metrics.observed(NamespacedName("namespace", "scan"), ScanFigures(status, Subscription(1, 1), 1.0))
    return metrics


PAGES = {"settings": settings_page, "metrics": metrics_page}

if __name__ == "__main__":
    sys.stdout.write(PAGES[sys.argv[1]]())
