"""The quota of the examples on a real API server: what a user with too many scans sees."""

from __future__ import annotations

import json

import pytest
from testing.cluster.cluster import SCRIPTS, Namespace
from testing.cluster.scans import QUICK, manifest
from testing.waiting import eventually

QUOTA = SCRIPTS.parents[1] / "examples" / "quota.yaml"
COUNT = "count/skymapscans.skymap.icecube.wisc.edu"


@pytest.mark.usefixtures("definition")
def test_scan_beyond_the_quota_is_rejected_with_a_reason(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", QUOTA)
    # The example allows 50 scans; for the test three are enough.
    namespace.kubectl("patch", "quota", "skymap-scans", "--patch", json.dumps({"spec": {"hard": {COUNT: "2"}}}))
    used = lambda: namespace.get("quota", "skymap-scans").get("status", {}).get("hard", {}).get(COUNT)  # noqa: E731
    eventually(used, lambda hard: hard == "2", 90)
    spec = QUICK | {"event": {"simulate": {}}}
    for name in ("one", "two"):
        namespace.apply(manifest(spec, name))
    refused = namespace.run("create", "-f", "-", stdin=json.dumps(manifest(spec, "three")))
    assert refused.returncode == 1
    assert '"three" is forbidden: exceeded quota: skymap-scans' in refused.stderr
    assert f"requested: {COUNT}=1, used: {COUNT}=2, limited: {COUNT}=2" in refused.stderr
    namespace.kubectl("delete", "sms", "one")

    def made() -> str:
        namespace.run("create", "-f", "-", stdin=json.dumps(manifest(spec, "three")))
        return namespace.kubectl("get", "sms", "-o", "name")

    eventually(made, lambda names: "three" in names, 60)  # the count is updated a moment later
