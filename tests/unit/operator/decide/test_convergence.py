"""From any state, repeated reconciling ends in the right state and then changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.world import SETTINGS, Work, World, resource

from skymap_api.names import JOB_ROLES
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.plan import plan
from skymap_operator.observe.state import ObservedScan, condition

URL = {"event": {"url": "https://example.org/event.json"}}
LONG = 400


def reconcile(world: World, actions: int = 1000) -> None:
    """One pass of the operator, which may be killed after some actions."""
    for action in plan(world.observe(), SETTINGS).actions[:actions]:
        world.apply(action)


def fingerprint(world: World) -> str:
    return repr((world.scan, world.objects, world.pods, world.topics, world.work.waiting, world.work.collected))


def settle(world: World, passes: int = LONG) -> None:
    """Reconcile until nothing is left to do and nothing changes."""
    quiet = 0
    for _ in range(passes):
        before = fingerprint(world)
        reconcile(world)
        world.step()
        if world.deleted:
            return
        quiet = quiet + 1 if before == fingerprint(world) else 0
        if quiet == 10:
            return
    raise AssertionError(f"still not at rest: {world.scan.get('status')}, {plan(world.observe(), SETTINGS)}")


def scan_of(world: World) -> ObservedScan:
    return ObservedScan.of(world.scan)


def reason(world: World, kind: ConditionType) -> Reason:
    found = condition(scan_of(world).status, kind)
    assert found is not None
    return found.reason


def check_succeeded(world: World) -> None:
    scan = scan_of(world)
    assert scan.succeeded
    assert scan.status.phase is Phase.SUCCEEDED
    assert scan.status.progress == "40/40"
    assert scan.status.outputs is not None
    assert (scan.status.outputs.claim, scan.status.outputs.files) == ("alert-results", ("scan.i3.zst",))
    assert ("Deployment", "alert-workers") not in world.objects
    assert not world.topics
    assert not world.frames
    assert not world.live_pods()
    assert plan(world.observe(), SETTINGS).actions == ()


# What may happen to a scan, from any state of the world.


def lose(kind: str, which: str) -> Callable[[World], None]:
    def delete(world: World) -> None:
        found = world.objects.get((kind, f"alert-{which}"))
        if found is not None:
            found["metadata"]["deletionTimestamp"] = world.now.isoformat()

    return delete


def drain(world: World) -> None:
    for pod in world.pods.values():
        pod["metadata"]["deletionTimestamp"] = world.now.isoformat()


def crash(world: World) -> None:
    for pod in world.live_pods()[:2]:
        world.end_pod(pod, 70, "Internal error")


def edit_deployment(world: World) -> None:
    found = world.objects.get(("Deployment", "alert-workers"))
    if found is not None:
        found["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
        found["spec"]["replicas"] = 50


def edit_config(world: World) -> None:
    found = world.objects.get(("ConfigMap", "alert-scan"))
    if found is not None:
        found["data"]["broker"] = "pulsar://elsewhere:6650"


def forget_status(world: World) -> None:
    world.scan["status"] = {}


def stop_pulsar(world: World) -> None:
    world.pulsar_up = False


def fewer_workers(world: World) -> None:
    world.scan["spec"]["workers"]["max"] = 2
    world.scan["metadata"]["generation"] += 1


def suspend(world: World) -> None:
    world.scan["spec"]["suspend"] = True
    world.scan["metadata"]["generation"] += 1


def no_quota(world: World) -> None:
    world.quota = 2


def lose_claim(world: World) -> None:
    world.claim = None


DISTURBANCES = {
    "no claim": lose_claim,
    "drain": drain,
    "crash": crash,
    "edit deployment": edit_deployment,
    "edit config": edit_config,
    "forget status": forget_status,
    "Pulsar down": stop_pulsar,
    "fewer workers": fewer_workers,
    "suspend": suspend,
    "quota": no_quota,
    "lose config": lose("ConfigMap", "scan"),
    "lose workers": lose("Deployment", "workers"),
} | {f"lose {role}": lose("Job", role) for role in JOB_ROLES}


def repair(world: World) -> None:
    world.pulsar_up = True
    world.quota = 1000
    world.scan["spec"]["suspend"] = False


def test_undisturbed_scan_succeeds() -> None:
    world = World(resource(URL))
    settle(world)
    check_succeeded(world)
    reasons = [event.reason for event in world.events if event.reason != "Scaled"]
    assert reasons == ["Waiting", "Preparing", "Scanning", "Completed"]
    assert all(event.type == "Normal" for event in world.events)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DISTURBANCES)), st.integers(0, 8), st.integers(0, 12), st.booleans()),
        max_size=8,
    )
)
def test_disturbed_scan_converges_from_any_state(disturbances: list[tuple[str, int, int, bool]]) -> None:
    world = World(resource(URL))
    for disturbance, passes, killed_after, repaired in disturbances:
        for _ in range(passes):
            reconcile(world)
            world.step()
        if "deletionTimestamp" in world.scan["metadata"]:
            break
        DISTURBANCES[disturbance](world)
        reconcile(world, actions=killed_after)
        world.step()
        if repaired:
            repair(world)
    repair(world)
    settle(world)
    check_succeeded(world)
    claim = world.claim
    world.delete()
    settle(world)
    assert world.deleted
    assert not world.topics
    assert world.claim is claim


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 25), st.booleans(), st.integers(0, 8))
def test_scan_can_be_deleted_at_any_time(passes: int, pulsar_up: bool, killed_after: int) -> None:
    world = World(resource(URL))
    for _ in range(passes):
        reconcile(world)
        world.step()
    world.pulsar_up = pulsar_up
    world.delete()
    reconcile(world, actions=killed_after)
    for _ in range(5):
        reconcile(world)
        world.step()
    if not pulsar_up and passes > 1:
        assert world.deleted is not bool(world.topics)
        assert not world.live_pods()
    world.pulsar_up = True
    settle(world)
    assert world.deleted
    assert not world.topics
    assert not world.frames
    assert not world.objects
    assert (world.claim is not None) is (passes > 0)


def test_nothing_is_created_while_pulsar_is_unavailable() -> None:
    world = World(resource(URL), pulsar_up=False)
    settle(world)
    assert not world.objects
    assert not world.scan["metadata"]["finalizers"]
    assert reason(world, ConditionType.DEGRADED) is Reason.PULSAR_UNAVAILABLE
    world.pulsar_up = True
    settle(world)
    check_succeeded(world)
    assert "Recovered" in [event.reason for event in world.events]


def test_scan_without_finalizer_is_deleted_without_pulsar() -> None:
    world = World(resource(URL), pulsar_up=False)
    settle(world)
    world.delete()
    settle(world)
    assert world.deleted


def test_explained_producer_error_fails_the_scan() -> None:
    world = World(resource(URL), bad_event=True)
    settle(world)
    scan = scan_of(world)
    assert scan.finished
    assert not scan.succeeded
    assert scan.status.phase is Phase.FAILED
    found = condition(scan.status, ConditionType.SUCCEEDED)
    assert found is not None
    assert found.reason is Reason.EVENT_UNUSABLE
    assert found.message == (
        "producer failed: Error: event.json: holds no physics (P) frame, so there is no event to scan"
    )
    # The failed Job and its pod stay for their logs, the topics for an investigation; nothing runs.
    assert sorted(key[1] for key in world.objects) == ["alert-producer", "alert-scan"]
    assert not world.live_pods()
    assert world.topics
    assert plan(world.observe(), SETTINGS).actions == ()


@pytest.mark.parametrize("policy", ["Always", "OnSuccess", "OnDelete", "Never"])
@pytest.mark.parametrize("bad_event", [False, True])
def test_topics_are_deleted_by_the_cleanup_policy(policy: str, bad_event: bool) -> None:
    world = World(resource(URL | {"cleanupPolicy": {"topics": policy}}), bad_event=bad_event)
    settle(world)
    deleted = policy == "Always" or (policy == "OnSuccess" and not bad_event)
    assert (not world.topics) is deleted
    world.delete()
    settle(world)
    assert world.deleted
    assert (not world.topics) is (policy != "Never")


@pytest.mark.parametrize(
    ("policy", "bad_event", "left"),
    [
        ("OnDelete", False, ["collector", "producer", "saver", "scan"]),
        ("OnDelete", True, ["producer", "scan"]),
        ("OnSuccess", False, ["scan"]),
        ("OnSuccess", True, ["producer", "scan"]),
        ("Always", False, ["scan"]),
        ("Always", True, ["scan"]),
    ],
)
def test_pods_are_deleted_by_the_cleanup_policy(policy: str, bad_event: bool, left: list[str]) -> None:
    world = World(resource(URL | {"cleanupPolicy": {"pods": policy}}), bad_event=bad_event)
    settle(world)
    assert sorted(key[1].removeprefix("alert-") for key in world.objects) == left


@pytest.mark.parametrize("bad_event", [False, True])
def test_scan_is_deleted_after_its_time_to_live(bad_event: bool) -> None:
    outcome = "failed" if bad_event else "succeeded"
    world = World(resource(URL | {"ttlSecondsAfterFinished": {outcome: 3600}}), bad_event=bad_event)
    settle(world)
    assert not world.deleted
    later = plan(world.observe(), SETTINGS)
    assert (later.actions, later.requeue_after) == ((), SETTINGS.resync_interval)
    world.step(3600)
    settle(world)
    assert world.deleted
    assert not world.topics
    assert world.claim is not None


def test_suspended_scan_resumes_where_it_stopped() -> None:
    world = World(resource(URL))
    for _ in range(5):
        reconcile(world)
        world.step()
    done = world.work.sent
    assert done
    suspend(world)
    settle(world)
    assert not world.live_pods()
    assert set(world.topics) == set(world.own.all())
    assert world.work.sent == done
    scan = scan_of(world)
    assert scan.status.phase is Phase.SUSPENDED
    assert scan.status.start_time is None
    repair(world)
    settle(world)
    check_succeeded(world)


def test_scan_created_suspended_creates_nothing() -> None:
    world = World(resource(URL | {"suspend": True}))
    settle(world)
    assert not world.objects
    assert not world.topics
    world.delete()
    settle(world)
    assert world.deleted


def test_work_lost_by_pulsar_is_repeated() -> None:
    world = World(resource(URL), tasks=200)
    while "status" not in world.objects.get(("Job", "alert-producer"), {}):
        reconcile(world)
        world.step()
    assert world.objects["Job", "alert-producer"]["status"]["conditions"][0]["type"] == "Complete"
    world.topics.clear()
    world.work, world.frames = Work(), ()
    settle(world)
    assert scan_of(world).succeeded
    assert scan_of(world).status.progress == "200/200"
    again = [event.message for event in world.events if event.reason == "RunAgain"]
    assert again == ["Pulsar lost what the producer had done, for example with its disk: the producer runs again"]


def test_operator_upgrade_changes_no_running_scan() -> None:
    world = World(resource(URL))
    for _ in range(4):
        reconcile(world)
        world.step()
    upgraded = SETTINGS.model_copy(
        update={"image": "registry.example/scanner:2", "pulsar_service_url": "pulsar://new:1"}
    )
    assert plan(world.observe(), upgraded).actions == plan(world.observe(), SETTINGS).actions


def test_foreign_objects_are_untouched() -> None:
    world = World(resource(URL))
    for _ in range(3):
        reconcile(world)
        world.step()
    for found in world.objects.values():
        found["metadata"]["ownerReferences"][0]["uid"] = "another"
        found["data" if "data" in found else "spec"] = {"replicas": 0, "suspend": False, "theirs": True}
    before = repr(world.objects)
    reconcile(world)
    assert repr(world.objects) == before
    assert reason(world, ConditionType.DEGRADED) is Reason.NAME_TAKEN
