"""What the chart gives Prometheus and Grafana, where it is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from testing.chart import CHART, HelmError, find, render, values

FILE = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())


def rule(**given: Any) -> dict[str, Any]:
    return find(render({"metrics": {"prometheusRule": {"enabled": True, **given}}}), "PrometheusRule", "skymap")


def test_nothing_of_it_is_there_by_default() -> None:
    kinds = {one["kind"] for one in render()}
    assert not kinds & {"PrometheusRule", "ServiceMonitor"}
    assert not [one for one in render() if one["metadata"]["name"] == "skymap-dashboard"]


def test_the_rule_is_the_file() -> None:
    assert rule()["spec"] == FILE


def test_alerts_are_changed_and_left_out() -> None:
    given = {"SkymapScanDegraded": {"for": "30m", "labels": {"severity": "info", "team": "maps"}}}
    made = rule(
        changes=given, without=["SkymapPulsarUnavailable", "SkymapScanLate"], runbooks="https://example.org/guide"
    )
    alerts = {one["alert"]: one for group in made["spec"]["groups"] for one in group["rules"]}
    plain = {one["alert"]: one for group in FILE["groups"] for one in group["rules"]}
    assert plain.keys() - alerts.keys() == {"SkymapPulsarUnavailable", "SkymapScanLate"}
    assert "skymap-pulsar" not in [group["name"] for group in made["spec"]["groups"]]
    changed, before = alerts["SkymapScanDegraded"], plain["SkymapScanDegraded"]
    assert (changed["for"], changed["labels"]) == ("30m", {"severity": "info", "team": "maps"})
    assert changed["expr"] == before["expr"]
    links = {one["annotations"]["runbook_url"] for one in alerts.values()}
    assert links == {f"https://example.org/guide#{name.lower()}" for name in alerts}


@pytest.mark.parametrize("given", [{"without": ["SkymapGone"]}, {"changes": {"SkymapGone": {"for": "1m"}}}])
def test_an_alert_that_is_not_there_is_told(given: dict[str, Any]) -> None:
    with pytest.raises(HelmError, match="there is no alert SkymapGone"):
        rule(**given)


def test_grafana_finds_the_dashboard() -> None:
    made = find(render({"metrics": {"dashboard": {"enabled": True}}}), "ConfigMap", "skymap-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    (content,) = made["data"].values()
    assert json.loads(content) == json.loads((CHART / "files" / "dashboard.json").read_text())
    chosen = find(render(values("full")), "ConfigMap", "skymap-dashboard")
    assert chosen["metadata"]["annotations"] == {"grafana_folder": "IceCube"}


def test_a_scans_namespace_is_not_overwritten_by_that_of_the_operator() -> None:
    monitor = find(render(values("full")), "ServiceMonitor", "skymap-operator")
    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"]] == [True]
