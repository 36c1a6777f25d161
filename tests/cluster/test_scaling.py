"""Workers of real scans follow their queues: from none and back to none, by what all may have together, by priority."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.cluster import Namespace
from tests.cluster.scans import QUICK, SETTINGS, Scan, Start, condition, embedded, ended, manifest, results, scan
from tests.cluster.waiting import eventually

#: 48 pixels, each fitted for a second: half a minute of two workers.
SPEC: Scan = QUICK | {
    "event": {"simulate": {"topology": "cascade", "seed": 3}},
    "levels": [{"nside": 2}],
    "reconstruction": {"name": "dummy", "parameters": {"seconds": 1.0}},
    "workers": {"min": 0, "max": 2, "targetSeconds": 10},
}
#: The limit of a busy machine on which pods take long to start (s).
WITHIN = 180.0


@pytest.mark.timeout(600)
def test_a_realtime_scan_takes_the_workers_of_another_which_goes_on_afterwards(
    operators: Start, namespace: Namespace, worker_image: str, tmp_path: Path
) -> None:
    operator = operators(IMAGE=worker_image, MAX_WORKERS="2", **SETTINGS)

    def replicas(name: str) -> int:
        found = namespace.run("get", "deployment", f"{name}-workers", "-o", "jsonpath={.spec.replicas}")
        return int(found.stdout or 0)

    def workers(name: str) -> Scan:
        found: Scan = scan(namespace, name).get("status", {}).get("workers", {})
        return found

    namespace.apply(manifest(SPEC, "normal"))
    eventually(lambda: workers("normal"), lambda found: found.get("busy") == 2, WITHIN)
    namespace.apply(manifest(SPEC | {"priority": "Realtime"}, "realtime"))
    eventually(lambda: (replicas("normal"), replicas("realtime")), lambda found: found == (0, 2), WITHIN)
    reason = workers("normal")["reason"]
    assert "at most 0, the rest is for other scans" in reason
    assert condition(scan(namespace, "normal"), "Succeeded")[0] == "Unknown", "it waits for its turn"

    for name in ("realtime", "normal"):
        assert ended(namespace, name) == ("True", "Completed", "the results are written")
    eventually(lambda: (replicas("normal"), replicas("realtime")), lambda found: found == (0, 0))
    first, last = (scan(namespace, name)["status"]["completionTime"] for name in ("realtime", "normal"))
    assert first <= last

    told = namespace.get("events", "--field-selector", "reason=Scaled")["items"]
    steps = {(one["involvedObject"]["name"], one["message"].partition(":")[0]) for one in told}
    assert ("normal", "from 0 to 2 workers") in steps
    assert {("normal", "from 2 to 0 workers"), ("normal", "from 1 to 0 workers")} & steps
    figures = operator.get("/metrics").text
    assert 'skymap_operator_scaling_decisions_total{cause="Share",direction="down"}' in figures
    # No fit was cut off: a worker that was asked to end has finished the one in hand, and the map is the same.
    wanted = embedded(SPEC, tmp_path)
    for name in ("realtime", "normal"):
        assert results(namespace, worker_image, name) == wanted
