"""Observing a scan: what is read of its queues, plan, progress and metadata topics."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, resource

from skymap_api.names import Names
from skymap_api.pulsar_admin import PulsarUnavailable, StoredMessage
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource.status import Reason
from skymap_operator.observe.read import observe
from skymap_operator.observe.state import ObservedState, PulsarFault, PulsarState
from skymap_operator.pulsar.access import PulsarAccess

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = Names.of(NAMESPACE, NAME).topics("icecube")
SCAN = resource({"event": {"simulate": {}}}, resourceVersion="1")
TIMES = {"observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}
SNAPSHOT: dict[str, Any] = {
    "name": "alert",
    "phase": "scanning",
    "levels": [],
    "fits": {"done": 0, "started": 84, "planned": 84},
    "rate": 0.5,
    "eta": None,
    "elapsed": 5.0,
    "best": None,
}


def observed(admin: FakeAdmin, scan: dict[str, Any] = SCAN, objects: Sequence[dict[str, Any]] = ()) -> ObservedState:
    return asyncio.run(observe(scan, FakeCluster(*objects), FakePulsars(admin), SETTINGS))


def producer(**status: Any) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"name": "alert-producer", "uid": "p"}, "spec": {}, "status": status}


def with_topics() -> FakeAdmin:
    admin = FakeAdmin()
    admin.stored = {topic: [] for topic in TOPICS.all()}
    return admin


def message(**fields: Any) -> StoredMessage:
    return StoredMessage(json.dumps(fields).encode(), NOW)


def plan_of(*topics: str) -> StoredMessage:
    return message(kind="scan", event={"metadata_topics": topics})


def test_queues_plan_and_progress_are_observed() -> None:
    admin = with_topics()
    admin.made = {
        TOPICS.to_be_scanned: {"workers": Subscription(5, 2, frozenset({"10.0.0.1"}), 40, 100.0)},
        TOPICS.scanned: {"collector": Subscription(3, 0, frozenset())},
    }
    admin.stored[TOPICS.plan] = [plan_of(), message(kind="end")]
    admin.stored[TOPICS.progress] = [message(**SNAPSHOT, extra=1), message(**SNAPSHOT | {"rate": 0.75})]
    found = observed(admin, objects=[producer(active=1)]).pulsar
    assert isinstance(found, PulsarState)
    assert not found.plan_ended, "the plan is not read before a Job has ended"
    found = observed(admin, objects=[producer(conditions=[{"type": "Complete", "status": "True"}])]).pulsar
    assert isinstance(found, PulsarState)
    assert found.tasks == Subscription(5, 2, frozenset({"10.0.0.1"}), 40, 100.0)
    assert found.fits == Subscription(3, 0)
    assert found.plan_ended
    assert found.progress is not None
    assert (found.progress.rate, found.progress_time) == (0.75, NOW)
    assert found.topics[TOPICS.to_be_scanned] == {"workers"}
    assert found.metadata == (), "they are not read while the scan runs"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"[" * 5000, b'{"phase": "scanning"}', json.dumps(SNAPSHOT | {"eta": math.nan}).encode()]
)
def test_invalid_progress_is_unknown(body: bytes) -> None:
    admin = with_topics()
    admin.made = {TOPICS.to_be_scanned: {"workers": Subscription(5, 2)}}
    admin.stored[TOPICS.progress] = [StoredMessage(body, NOW)]
    found = observed(admin).pulsar
    assert isinstance(found, PulsarState)
    assert found.progress is None
    assert found.progress_fault.startswith(f"{TOPICS.progress}: not a progress snapshot of this version: ")
    assert found.tasks == Subscription(5, 2), "the queue is still read"


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"\xff", b"[" * 5000, b'{"a":' * 5000])
def test_end_of_an_invalid_plan_is_unknown(body: bytes) -> None:
    admin = with_topics()
    admin.stored[TOPICS.plan] = [plan_of(), StoredMessage(body, NOW)]
    found = observed(admin, objects=[producer(conditions=[{"type": "Complete", "status": "True"}])]).pulsar
    assert isinstance(found, PulsarState)
    assert not found.plan_ended
    assert found.plan_fault.startswith(f"{TOPICS.plan}: not an entry of a plan: ")


def test_message_that_is_not_read_is_unknown() -> None:
    admin = with_topics()
    admin.unreadable = {TOPICS.progress, TOPICS.plan}
    found = observed(admin, objects=[producer(conditions=[{"type": "Complete", "status": "True"}])]).pulsar
    assert isinstance(found, PulsarState)
    assert (found.progress, found.progress_time, found.plan_ended) == (None, None, False)
    assert found.progress_fault.startswith(f"{TOPICS.progress}: a message of 2147483648 bytes")
    assert found.plan_fault.startswith(f"{TOPICS.plan}: a message of")


def test_metadata_topics_are_known_before_deletion() -> None:
    ours = f"{TOPICS.metadata}{1:064x}"
    others = (f"{TOPICS.metadata}other-{1:064x}", f"persistent://icecube/skymap_metadata-alerts/mf_{1:064x}")
    admin = with_topics()
    admin.stored |= {ours: [], **{other: [] for other in others}}
    ending = resource({"event": {"simulate": {}}}, deletionTimestamp=NOW.isoformat())
    found = observed(admin, ending).pulsar
    assert isinstance(found, PulsarState)
    assert found.metadata == (ours,)


@pytest.mark.parametrize("ends", [{}, {"deletionTimestamp": NOW.isoformat()}])
def test_pulsar_that_is_not_allowed_is_never_reached(ends: dict[str, str]) -> None:
    class Unreachable(FakePulsars):
        def reach(self, namespace: str, access: PulsarAccess) -> Any:
            raise AssertionError(f"{namespace} reaches {access.admin_url}")

    given = {"adminUrl": "http://169.254.169.254", "tlsSecret": {"name": "ingress"}}
    scan = resource({"event": {"simulate": {}}, "pulsar": given}, **ends)
    found = asyncio.run(observe(scan, FakeCluster(), Unreachable(with_topics()), SETTINGS))
    assert isinstance(found.pulsar, PulsarFault)
    assert found.pulsar.reason is Reason.NOT_ALLOWED
    assert found.pulsar.message.startswith("the administrator does not allow pulsar.adminUrl (http://169.254.169.254)")
    assert found.tls_keys == frozenset(), "its Secret is not read"


def test_finished_scan_reads_pulsar_only_before_deletion() -> None:
    finished = {
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "message": "", **TIMES}]
    } | {"phase": "Succeeded"}
    unavailable = with_topics()
    unavailable.fault = PulsarUnavailable("no answer")
    stays = resource({"event": {"simulate": {}}, "cleanupPolicy": {"topics": "OnDelete"}}) | {"status": finished}
    assert isinstance(observed(unavailable, stays).pulsar, PulsarState)
    deleting = resource({"event": {"simulate": {}}, "cleanupPolicy": {"topics": "Always"}}) | {"status": finished}
    assert isinstance(observed(unavailable, deleting).pulsar, PulsarFault)
