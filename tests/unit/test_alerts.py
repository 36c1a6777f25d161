"""Alerts, dashboard and guide use existing metrics, labels, reasons and headings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from skymap_api.names import NamespacedName
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Phase, Pixels, Reason, WorkersStatus
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.runtime.health import STALLED
from skymap_operator.runtime.metrics import Metrics, Result, ScanFigures
from skymap_operator.runtime.workqueue import Load, Trigger

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/how-to/respond-to-alerts.md").read_text()
CONDITIONS = (ROOT / "docs/reference/conditions.md").read_text()
FILES = ROOT / "helm" / "skymap-scanner" / "files"
GROUPS = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: The words of PromQL in the expressions.
WORDS = {
    *("sum", "max", "absent", "rate", "increase", "delta", "histogram_quantile"),
    *("by", "unless", "on"),
}


def expressions() -> Iterator[tuple[str, str]]:
    for name, rule in ALERTS.items():
        yield name, rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"^label_values\((.*), \w+\)$", r"\1", variable["query"]["query"])


EXPRESSIONS = list(expressions())


def exported() -> dict[str, list[dict[str, str]]]:
    """Return the labels of all samples by metric."""
    metrics = Metrics(lambda: NOW)
    for result in Result:
        metrics.reconciled(result, 1.0)
    metrics.scaled(Direction.UP, Cause.WORK)
    metrics.waited(Trigger.EVENT, 0.5, 1.0)
    for server, code in (("kubernetes", 403), ("pulsar", 500)):
        metrics.requested(server, "GET", code)
    conditions = tuple(
        Condition(type=kind, status=truth, last_transition_time=NOW, reason=reason)
        for kind, truth, reason in (
            (ConditionType.DEGRADED, "True", Reason.UNSCHEDULABLE),
            (ConditionType.SUCCEEDED, "False", Reason.ROLE_FAILED),
            (ConditionType.NOTIFIED, "False", Reason.NOTICES_FAILED),
        )
    )
    scan = SkymapScanStatus(
        phase=Phase.SCANNING,
        conditions=conditions,
        workers=WorkersStatus(desired=3),
        pixels=Pixels(planned=9),
        start_time=NOW - timedelta(seconds=9),
        eta=NOW,
    )
    metrics.observed(NamespacedName("ns", "a"), ScanFigures(scan, Subscription(1, 1), 900.0))
    found: dict[str, list[dict[str, str]]] = {}
    for line in metrics.text(Load()).decode().splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, []).append(dict(re.findall(r'(\w+)="([^"]*)"', labels or "")))
    return found


METRICS = exported()
#: Label values beyond those of the sample above.
KNOWN: dict[str, set[str]] = {
    "reason": set(Reason),
    "phase": set(Phase),
    "result": set(Result),
    "direction": set(Direction),
}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expressions_use_existing_metrics_and_labels(where: str, expression: str) -> None:
    plain = re.sub(r'"[^"]*"', '""', expression)
    assert plain.count("(") == plain.count(")")
    assert plain.count("{") == plain.count("}")
    words = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on|ignoring|without) *\([^)]*\)", " ", plain)
    names = set(re.findall(r"[A-Za-z_]\w*", words)) - WORDS
    assert names
    assert names <= set(METRICS), f"{where}: no metric {names - set(METRICS)}"
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert all(label in one for one in METRICS[name]), f"{where}: {name} has no label {label}"
            values = {one[label] for one in METRICS[name]}
            if label == "code" or value.startswith("$"):
                continue
            wanted = set(value.split("|")) if "~" in how else {value}
            assert wanted <= KNOWN.get(label, values), f"{where}: {label} is never {value}"
    for labels in re.findall(r"\bby *\(([^)]*)\)", expression):
        for label in set(labels.replace(" ", "").split(",")) - {"le", "namespace"}:
            assert any(label in one for name in names for one in METRICS[name]), f"{where}: no label {label}"


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_a_summary_and_a_section_in_the_guide(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/how-to/respond-to-alerts.md#{name.lower()}"
    section = re.search(rf"^### {name}\n\n(.+?)(?=^#|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/how-to/respond-to-alerts.md has no heading {name}"
    assert len(section[1]) > 100, "the section is too short"


def test_every_alert_has_a_promtool_test() -> None:
    tested = yaml.safe_load((ROOT / "helm" / "alerts-test.yaml").read_text())["tests"]
    assert {one["alertname"] for part in tested for one in part["alert_rule_test"] if one["exp_alerts"]} == set(ALERTS)


def test_guide_knows_when_the_probe_restarts_a_stalled_operator() -> None:
    explained = (ROOT / "docs/explanation/operator.md").read_text()
    for text in (GUIDE, explained, (FILES / "alerts.yaml").read_text()):
        assert re.findall(r"none has ended for (\d+) s|(?:no reconcile|none) ends for (\d+) s", text) in (
            [(f"{STALLED:g}", "")],
            [("", f"{STALLED:g}")],
        )


def test_guide_has_only_existing_alerts() -> None:
    assert set(re.findall(r"^### (Skymap\w+)$", GUIDE, re.MULTILINE)) == set(ALERTS)


def test_every_condition_reason_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", CONDITIONS.partition("## Reasons")[2], re.MULTILINE)
    explained = [reason for reason, *_ in rows]
    assert sorted(explained) == sorted(reason.value for reason in Reason)
    assert all(means.strip() and do.strip() for _, means, do in rows)


def test_annotations_use_existing_labels() -> None:
    for name, rule in ALERTS.items():
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        kept = re.findall(r"by *\(([^)]*)\)", rule["expr"])
        labels = {word for part in kept for word in part.replace(" ", "").split(",")}
        labels |= set() if kept else {"namespace", "scan", "reason"}
        assert used <= labels, name


def test_dashboard_panels_do_not_overlap() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_dashboard_uses_the_chosen_data_source() -> None:
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    sources = [panel["datasource"] for panel in DASHBOARD["panels"]]
    sources += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert DASHBOARD.get("id") is None, "an id belongs to one Grafana"
    used = set(re.findall(r"\$(namespace|scan)\b", json.dumps(DASHBOARD["panels"])))
    assert used == {variable["name"] for variable in DASHBOARD["templating"]["list"][1:]}
