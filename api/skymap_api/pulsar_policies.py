"""The policies of Pulsar's namespaces that scans need, and what an existing namespace lacks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Keep every message: the roles read the plan, the collected fits and the metadata from their start, acknowledged or
#: not.
RETENTION = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}

#: Policies that are set in the request that creates a namespace, so that nobody sees it without them: keep all
#: messages, drop duplicates, and create no topic automatically. Otherwise a client that missed a deletion would bring
#: the topic back.
POLICIES = {
    "retention_policies": RETENTION,
    "deduplicationEnabled": True,
    "autoTopicCreationOverride": {"allowAutoTopicCreation": False},
}

#: The same, but Pulsar creates topics automatically, since the producer names metadata topics after their content.
OPEN_POLICIES = POLICIES | {
    "autoTopicCreationOverride": {"allowAutoTopicCreation": True, "topicType": "non-partitioned"}
}


def keeps_messages(retention: Any) -> bool:
    """Return whether a namespace's retention keeps acknowledged messages; Pulsar's default, without one, does not."""
    return isinstance(retention, dict) and all(retention.get(name, 0) != 0 for name in RETENTION)


def policy_faults(place: str, policies: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the policies of an existing namespace, ``tenant/namespace``, and the remedies.

    A policy that is not set counts as missing: the broker's default may be another one tomorrow.
    """
    where, command, faults = f"the Pulsar namespace {place}", "pulsar-admin namespaces", list[str]()
    retention = policies.get("retention_policies")
    remedy = f"{command} set-retention {place} --time -1 --size -1"
    if not keeps_messages(retention):
        faults.append(f"{where} has no retention, so that a role that starts again misses what was read: {remedy}")
    elif retention != RETENTION:
        faults.append(f"{where} keeps messages for a limited time or size, and scans read all of them: {remedy}")
    if policies.get("deduplicationEnabled") is not True:
        remedy = f"{command} set-deduplication {place} --enable"
        faults.append(f"{where} has no deduplication, so that pixels are fitted more than once: {remedy}")
    if policies.get("message_ttl_in_seconds"):
        remedy = f"{command} remove-message-ttl {place}"
        faults.append(f"{where} has a message TTL, so that a task that expires is never fitted: {remedy}")
    quotas = policies.get("backlog_quota_map")
    for kind, quota in quotas.items() if isinstance(quotas, dict) else ():
        if isinstance(quota, dict) and quota.get("policy") == "consumer_backlog_eviction":
            remedy = f"{command} remove-backlog-quota {place} --type {kind}"
            faults.append(f"{where} drops the tasks of a large backlog (consumer_backlog_eviction): {remedy}")
    return faults
