"""What a namespace of Pulsar lacks of the policies that scans need."""

from __future__ import annotations

from typing import Any

import pytest

from skymap_api.pulsar_policies import OPEN_POLICIES, POLICIES, policy_faults

EVICTION = {"destination_storage": {"limitSize": 1, "policy": "consumer_backlog_eviction"}}
HOLD = {"destination_storage": {"limitSize": 1, "policy": "producer_request_hold"}}


def retention(minutes: int, megabytes: int) -> dict[str, Any]:
    return {"retention_policies": {"retentionTimeInMinutes": minutes, "retentionSizeInMB": megabytes}}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"message_ttl_in_seconds": None, "backlog_quota_map": {}}, []),
        ({"message_ttl_in_seconds": 0, "backlog_quota_map": HOLD}, []),
        ({"retention_policies": None}, ["no retention"]),
        (retention(0, 0), ["no retention"]),
        (retention(-1, 0), ["no retention"]),
        (retention(600, -1), ["for a limited time or size"]),
        (retention(-1, 1024), ["for a limited time or size"]),
        ({"deduplicationEnabled": None}, ["no deduplication"]),
        ({"deduplicationEnabled": False, "message_ttl_in_seconds": 60}, ["no deduplication", "a message TTL"]),
        ({"backlog_quota_map": EVICTION}, ["drops the tasks"]),
        ({"backlog_quota_map": [1], "retention_policies": "all"}, ["no retention"]),
    ],
)
def test_each_missing_policy_is_a_fault_with_a_remedy(changes: dict[str, Any], faults: list[str]) -> None:
    for policies in (POLICIES, OPEN_POLICIES):
        found = policy_faults("t/n", policies | changes)
        assert len(found) == len(faults)
        for text, words in zip(found, faults, strict=True):
            assert text.startswith("the Pulsar namespace t/n ")
            assert words in text
            assert ": pulsar-admin namespaces " in text
