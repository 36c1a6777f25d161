"""From any state, repeated reconciling ends in the right state and then changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.decisions import check_succeeded, reconcile, repair, scan_of, settle, suspend
from tests.unit.operator.world import SETTINGS, Work, World, resource

from skymap_api.names import JOB_ROLES
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.plan import decide
from skymap_operator.settings import AllowedPulsar

URL = {"event": {"url": "https://example.org/event.json"}}


def reason(world: World, kind: ConditionType) -> Reason:
    found = scan_of(world).status.condition(kind)
    assert found is not None
    return found.reason


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


def test_reported_producer_error_fails_the_scan() -> None:
    world = World(resource(URL), bad_event=True)
    settle(world)
    scan = scan_of(world)
    assert scan.finished
    assert not scan.succeeded
    assert scan.status.phase is Phase.FAILED
    found = scan.status.condition(ConditionType.SUCCEEDED)
    assert found is not None
    assert found.reason is Reason.EVENT_UNUSABLE
    assert found.message == (
        "producer failed: Error: event.json: holds no physics (P) frame, so there is no event to scan"
    )
    # The failed Job and its pod stay for their logs, the topics for an investigation; nothing runs.
    assert sorted(key[1] for key in world.objects) == ["alert-producer", "alert-scan"]
    assert not world.live_pods()
    assert world.topics
    assert decide(world.observe(), SETTINGS).actions == ()


def test_work_lost_by_pulsar_is_redone() -> None:
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
    old = AllowedPulsar(service_url=SETTINGS.pulsar_service_url, admin_url=SETTINGS.pulsar_admin_url)
    moved = {"pulsar_service_url": "pulsar://new:1", "allowed_pulsars": (old,)}
    upgraded = SETTINGS.model_copy(update=moved | {"image": "registry.example/scanner:2"})
    assert decide(world.observe(), upgraded).actions == decide(world.observe(), SETTINGS).actions


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
