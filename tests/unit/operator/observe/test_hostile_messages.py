"""Whatever the topics of a scan hold: planning never raises, suspension and deadlines hold, the status is valid."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.operator.decisions import URL, reconcile, running, scan_of, settle, suspend
from tests.unit.operator.observe.test_read import NOW, SNAPSHOT, TOPICS, observed, producer, with_topics
from tests.unit.operator.world import SETTINGS, World, resource, wire

from skymap_api.crd import resource_schema
from skymap_api.names import PRODUCER, SAVER
from skymap_api.pulsar_admin import StoredMessage
from skymap_api.pulsar_statistics import read_subscriptions
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import INT32
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import SetStatus
from skymap_operator.decide.plan import decide

STATUS = resource_schema()["properties"]["status"]
LEVEL = {"nside": 8, "done": 1, "planned": 768, "decided": True, "failed": 0}
VALID = SNAPSHOT | {"levels": [LEVEL], "eta": 5.0}
STATISTICS = {
    "msgBacklog": 7,
    "unackedMessages": 2,
    "type": "Shared",
    "consumers": [
        {
            "address": "/10.0.0.7:41234",
            "connectedSince": "2026-01-01T00:00:00Z",
            "msgOutCounter": 40,
            "lastConsumedTimestamp": 1767225700000,
            "unackedMessages": 1,
        }
    ],
}

NUMBERS = st.sampled_from([0, -1, 0.5, 5e-324, 1e300, -1e300, math.nan, math.inf, INT32, INT32 + 1, 2**63, 10**400])
ODD = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=9) | st.just("x" * 9000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(LEVEL)), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Change some places of a value, at any depth."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    if isinstance(value, dict):
        return {name: draw(changed(inner)) for name, inner in value.items() if draw(st.integers(0, 19))}
    if isinstance(value, list):
        return [draw(changed(inner)) for inner in value] * draw(st.sampled_from([1, 1, 1, 15]))
    return value


def messages(valid: Any) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=64) | changed(valid).map(lambda found: json.dumps(found).encode())


def faults(value: Any, schema: dict[str, Any], path: str = "status") -> list[str]:
    """Return where a value does not conform to a structural schema, which the API server would reject."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{path}: {value!r} is no {kind}"]
    checks = {
        "enum": lambda allowed: value in allowed,
        "minimum": lambda least: value >= least,
        "maximum": lambda most: value <= most,
        "exclusiveMinimum": lambda strict: not strict or value > schema["minimum"],
        "exclusiveMaximum": lambda strict: not strict or value < schema["maximum"],
        "maxLength": lambda most: len(value) <= most,
        "maxItems": lambda most: len(value) <= most,
        "pattern": lambda pattern: re.search(pattern, value),
    }
    broken = (name for name, holds in checks.items() if name in schema and not holds(schema[name]))
    found = [f"{path}: {value!r:.80} breaks {name}" for name in broken]
    if isinstance(value, float) and not math.isfinite(value):
        found.append(f"{path}: {value} is no JSON")
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - value.keys()
        found += [f"{path}: {name} is missing" for name in missing]
        for name, inner in value.items():
            found += faults(inner, schema.get("properties", {}).get(name, {}), f"{path}.{name}")
    if isinstance(value, list):
        found += [one for inner in value for one in faults(inner, schema.get("items", {}), f"{path}[]")]
    return found


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages(VALID),
    messages({"kind": "end"}),
    messages({"subscriptions": {"workers": STATISTICS}}),
    st.datetimes(timezones=st.just(UTC)),
)
@example(json.dumps(VALID | {"eta": math.nan}).encode(), b"", b"", NOW)
@example(json.dumps(VALID | {"eta": 1e300}).encode(), b"[", b"{}", NOW)
@example(json.dumps(VALID | {"rate": -1.0}).encode(), b"", b"", NOW)
@example(json.dumps(VALID | {"rate": 5e-324, "eta": INT32}).encode(), b"", b"", datetime.max.replace(tzinfo=UTC))
@example(json.dumps(VALID | {"levels": [LEVEL] * 15}).encode(), b"", b"", NOW)
@example(json.dumps(VALID | {"levels": [LEVEL | {"done": 2**40}]}).encode(), b"", b"", NOW)
@example(json.dumps(VALID | {"outputs": ["x" * 9000]}).encode(), b"", b"", NOW)
@example(b"[" * 5000, b"[" * 5000, b"[" * 5000, NOW)
def test_planning_never_raises_whatever_the_topics_hold(
    progress: bytes, plan: bytes, statistics: bytes, published: datetime
) -> None:
    admin = with_topics()
    admin.stored[TOPICS.progress] = [StoredMessage(progress, published)]
    admin.stored[TOPICS.plan] = [StoredMessage(plan, published)]
    try:
        admin.made[TOPICS.to_be_scanned] = read_subscriptions(statistics)
    except ValueError:  # the client raises PulsarAdminError then
        admin.made[TOPICS.to_be_scanned] = {}
    for objects in ([], [producer(conditions=[{"type": "Complete", "status": "True"}])]):
        decided = decide(observed(admin, objects=objects), SETTINGS)
        for action in decided.actions:
            if isinstance(action, SetStatus):
                written = wire(action.status)
                assert faults(written, STATUS) == []
                SkymapScanStatus.model_validate(written)


def test_poisoned_scan_succeeds_with_the_job_of_its_saver() -> None:
    """Somebody writes after each snapshot of the saver and each entry of the plan."""
    world = World(resource(URL), poisoned=True)
    settle(world)
    found = scan_of(world)
    assert found.succeeded
    assert (world.topics, world.live_pods()) == ({}, [])


def test_poisoned_scan_goes_on_and_is_degraded() -> None:
    world = running(passes=5)
    world.poisoned = True
    del world.objects["Job", world.names.job(SAVER)]
    reconcile(world)
    assert ("Job", world.names.job(SAVER)) in world.objects
    found = scan_of(world).status
    degraded = found.condition(ConditionType.DEGRADED)
    assert degraded is not None
    assert (degraded.status, degraded.reason) == ("True", Reason.MESSAGE_UNREADABLE)
    assert degraded.message.startswith("progress: not a progress snapshot - the scan continues")
    assert (found.rate, found.eta) == (None, None)
    assert found.pixels is not None, "what was known before stays"
    world.poisoned = False
    settle(world)
    assert scan_of(world).status.progress == "400/400"


def test_poisoned_scan_is_suspended_and_misses_its_deadline() -> None:
    world = running(URL | {"activeDeadlineSeconds": 3600}, passes=5)
    world.poisoned = True
    suspend(world)
    settle(world)
    assert scan_of(world).status.phase is Phase.SUSPENDED
    assert not world.live_pods()
    world.scan["spec"]["suspend"] = False
    reconcile(world)
    world.step()
    reconcile(world)
    world.now += timedelta(hours=2)
    settle(world)
    outcome = scan_of(world).status.condition(ConditionType.SUCCEEDED)
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("False", Reason.DEADLINE_EXCEEDED)


def test_unreadable_work_is_not_lost_work() -> None:
    world = running(passes=4, tasks=40)
    producer = world.observe().children.owned_job(PRODUCER)
    assert producer is not None
    assert producer.complete is not None
    world.poisoned = True
    world.now += timedelta(hours=1)
    reconcile(world)
    assert [event for event in world.events if event.reason == "RunAgain"] == []
