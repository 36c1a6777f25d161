"""Workers of real scans follow their queues, from zero and back to zero, within the limit for all scans."""

from __future__ import annotations

from pathlib import Path

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.scans import (
    QUICK,
    SETTINGS,
    Scan,
    Start,
    condition,
    embedded,
    ended,
    manifest,
    results,
    scan,
    unfinished_pods,
)
from testing.waiting import eventually

#: 48 pixels whose fits take a second each.
SPEC: Scan = QUICK | {
    "event": {"simulate": {"topology": "cascade", "seed": 3}},
    "levels": [{"nside": 2}],
    "reconstruction": {"name": "dummy", "parameters": {"seconds": 1.0}},
    "workers": {"min": 0, "max": 2, "targetSeconds": 10},
}
#: How long pods may take to start on a busy machine (s).
WITHIN = 180.0


@pytest.mark.timeout(600)
def test_realtime_scan_takes_workers_from_another(
    operators: Start, namespace: Namespace, worker_image: str, tmp_path: Path
) -> None:
    operator = operators(IMAGE=worker_image, MAX_WORKERS="2", REALTIME_NAMESPACES='["*"]', **SETTINGS)

    def of(name: str, field: str) -> int:
        return int(scan(namespace, name).get("status", {}).get("workers", {}).get(field, 0))

    def replicas() -> list[int]:
        found = [namespace.get("deployment", f"{name}-workers")["spec"]["replicas"] for name in ("older", "younger")]
        return [int(one) for one in found]

    namespace.apply(manifest(SPEC, "older"))
    eventually(lambda: scan(namespace, "older").get("status"))
    namespace.apply(manifest(SPEC, "younger"))
    eventually(lambda: [of(name, "busy") for name in ("older", "younger")], lambda busy: busy == [1, 1], WITHIN)
    namespace.kubectl("patch", "sms", "younger", "--type=merge", "-p", '{"spec": {"priority": "Realtime"}}')
    eventually(replicas, lambda found: found == [0, 2])
    older = scan(namespace, "older")
    assert "at most 0 beside other scans" in older["status"]["workers"]["reason"]
    assert condition(older, "Succeeded")[0] == "Unknown", "it waits for workers"

    for name in ("younger", "older"):
        assert ended(namespace, name) == ("True", "Completed", "the results are written")
    eventually(lambda: not unfinished_pods(namespace))  # the Deployments have gone by then
    younger, older = (scan(namespace, name)["status"]["completionTime"] for name in ("younger", "older"))
    assert younger <= older

    events = namespace.get("events", "--field-selector", "reason=Scaled")["items"]
    steps = {(one["involvedObject"]["name"], one["message"].partition(":")[0]) for one in events}
    assert steps >= {("older", "from 1 to 0 workers"), ("younger", "from 1 to 2 workers")}
    figures = operator.get("/metrics").text
    assert 'skymap_operator_scaling_decisions_total{cause="Allocation",direction="down"}' in figures
    # No fit was interrupted: terminating workers have finished their task in flight, and the map is the same.
    wanted = embedded(SPEC, tmp_path)
    for name in ("older", "younger"):
        assert results(namespace, worker_image, name) == wanted
