"""The chart's objects for Prometheus and Grafana, which are optional."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from testing.chart import CHART, HelmError, find, render, values

FILE = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())


def rule(**given: Any) -> dict[str, Any]:
    metrics = {"scans": True, "prometheusRule": {"enabled": True, **given}}
    return find(render({"metrics": metrics}), "PrometheusRule", "skymap")


def test_monitoring_objects_are_off_by_default() -> None:
    kinds = {one["kind"] for one in render()}
    assert not kinds & {"PrometheusRule", "ServiceMonitor"}
    assert not [one for one in render() if one["metadata"]["name"] == "skymap-dashboard"]


def test_prometheus_rule_equals_the_file() -> None:
    assert rule()["spec"] == FILE


def test_alerts_can_be_changed_and_omitted() -> None:
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
def test_unknown_alert_is_rejected(given: dict[str, Any]) -> None:
    with pytest.raises(HelmError, match="there is no alert SkymapGone"):
        rule(**given)


def test_dashboard_has_the_label_for_grafana() -> None:
    made = find(render({"metrics": {"scans": True, "dashboard": {"enabled": True}}}), "ConfigMap", "skymap-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    (content,) = made["data"].values()
    assert json.loads(content) == json.loads((CHART / "files" / "dashboard.json").read_text())
    chosen = find(render(values("full")), "ConfigMap", "skymap-dashboard")
    assert chosen["metadata"]["annotations"] == {"grafana_folder": "IceCube"}


def test_service_monitor_keeps_the_namespace_of_scans() -> None:
    monitor = find(render(values("full")), "ServiceMonitor", "skymap-operator")
    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"]] == [True]
