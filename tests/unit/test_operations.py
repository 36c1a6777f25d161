"""What wakes people at night, and what they then read: alerts, dashboard and guide speak of what there is."""

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
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Phase, Pixels, Reason, WorkersStatus
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.observe.state import Backlog
from skymap_operator.runtime.metrics import OUTCOMES, Metrics, Seen
from skymap_operator.runtime.workqueue import By

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/how-to/respond-to-alerts.md").read_text()
CONDITIONS = (ROOT / "docs/reference/conditions.md").read_text()
FILES = ROOT / "helm" / "skymap-scanner" / "files"
GROUPS = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: All of PromQL that the expressions use.
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


def figures() -> dict[str, list[dict[str, str]]]:
    """All figures that the operator shows, with the labels of each."""
    metrics = Metrics(lambda: NOW)
    for outcome in OUTCOMES:
        metrics.looked(outcome, 1.0)
    metrics.scaled(Direction.UP, Cause.WORK)
    metrics.late(1.0, By.NEWS)
    for to, code in (("kubernetes", 403), ("pulsar", 500)):
        metrics.asked(to, "GET", code)
    conditions = tuple(
        Condition(type=kind, status=truth, last_transition_time=NOW, reason=reason)
        for kind, truth, reason in (
            (ConditionType.DEGRADED, "True", Reason.UNSCHEDULABLE),
            (ConditionType.SUCCEEDED, "False", Reason.ROLE_FAILED),
        )
    )
    scan = SkymapScanStatus(
        phase=Phase.SCANNING,
        conditions=conditions,
        workers=WorkersStatus(wanted=3),
        pixels=Pixels(planned=9),
        start_time=NOW - timedelta(seconds=9),
        eta=NOW,
    )
    metrics.seen(NamespacedName("ns", "a"), Seen(scan, Backlog(1, 1), 900.0))
    found: dict[str, list[dict[str, str]]] = {}
    for line in metrics.text(0.0).decode().splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, []).append(dict(re.findall(r'(\w+)="([^"]*)"', labels or "")))
    return found


FIGURES = figures()
#: Values that a label may have beyond those of the sample above.
KNOWN: dict[str, set[str]] = {
    "reason": set(Reason),
    "phase": set(Phase),
    "outcome": set(OUTCOMES),
    "direction": set(Direction),
}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_an_expression_speaks_of_figures_that_there_are(where: str, expression: str) -> None:
    plain = re.sub(r'"[^"]*"', '""', expression)
    assert plain.count("(") == plain.count(")")
    assert plain.count("{") == plain.count("}")
    words = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on|ignoring|without) *\([^)]*\)", " ", plain)
    names = set(re.findall(r"[A-Za-z_]\w*", words)) - WORDS
    assert names
    assert names <= set(FIGURES), f"{where}: there is no {names - set(FIGURES)}"
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert all(label in one for one in FIGURES[name]), f"{where}: {name} has no label {label}"
            values = {one[label] for one in FIGURES[name]}
            if label == "code" or value.startswith("$"):
                continue
            wanted = set(value.split("|")) if "~" in how else {value}
            assert wanted <= KNOWN.get(label, values), f"{where}: {label} is never {value}"
    for labels in re.findall(r"\bby *\(([^)]*)\)", expression):
        for label in set(labels.replace(" ", "").split(",")) - {"le", "namespace"}:
            assert any(label in one for name in names for one in FIGURES[name]), f"{where}: no label {label}"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/how-to/respond-to-alerts.md#{name.lower()}"
    section = re.search(rf"^### {name}\n\n(.+?)(?=^#|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/how-to/respond-to-alerts.md has no heading {name}"
    assert len(section[1]) > 100, "says nothing to do"


def test_every_alert_is_tried_out_by_promtool() -> None:
    tried = yaml.safe_load((ROOT / "helm" / "alerts-test.yaml").read_text())["tests"]
    assert {one["alertname"] for part in tried for one in part["alert_rule_test"] if one["exp_alerts"]} == set(ALERTS)


def test_the_guide_has_no_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (Skymap\w+)$", GUIDE, re.MULTILINE)) == set(ALERTS)


def test_the_guide_explains_every_reason_of_a_condition() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", CONDITIONS.partition("## Reasons")[2], re.MULTILINE)
    explained = [reason for reason, *_ in rows]
    assert sorted(explained) == sorted(reason.value for reason in Reason)
    assert all(means.strip() and do.strip() for _, means, do in rows)


def test_labels_of_an_alert_that_its_text_uses_are_there() -> None:
    for name, rule in ALERTS.items():
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        kept = re.findall(r"by *\(([^)]*)\)", rule["expr"])
        labels = {word for part in kept for word in part.replace(" ", "").split(",")}
        labels |= set() if kept else {"namespace", "scan", "reason"}
        assert used <= labels, name


def test_the_dashboards_panels_stand_side_by_side() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_the_dashboard_asks_the_data_source_that_is_chosen() -> None:
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    sources = [panel["datasource"] for panel in DASHBOARD["panels"]]
    sources += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert DASHBOARD.get("id") is None, "an id belongs to one Grafana"
    used = set(re.findall(r"\$(namespace|scan)\b", json.dumps(DASHBOARD["panels"])))
    assert used == {variable["name"] for variable in DASHBOARD["templating"]["list"][1:]}
