"""Upgrades and rollbacks of the operator while a scan runs: its pods keep image, arguments and variables."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.decisions import check_succeeded, repair, scan_of, suspend
from tests.unit.operator.versions import (
    DIGEST,
    NEW,
    OLD,
    URL,
    VERSIONS,
    Version,
    begun,
    commands,
    condition,
    crash,
    finish,
    lose,
    pulsar_loses_all,
)
from tests.unit.operator.world import Work, World, resource

from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import Create, Delete, Emit, Patch, Replace, SetStatus

DISTURBANCES: dict[str, Callable[[World], None]] = {
    "crash": crash,
    "suspend": suspend,
    "no topics": pulsar_loses_all,
    "lose config": lose("ConfigMap", "alert-scan"),
    "lose workers": lose("Deployment", "alert-workers"),
    "lose producer": lose("Job", "alert-producer"),
    "lose saver": lose("Job", "alert-saver"),
}
STEP = st.tuples(
    st.sampled_from(VERSIONS), st.integers(1, 4), st.integers(0, 12), st.sampled_from(sorted(DISTURBANCES))
)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(VERSIONS), st.lists(STEP, max_size=6))
def test_commands_stay_through_upgrades_rollbacks_and_losses(
    first: Version, steps: list[tuple[Version, int, int, str]]
) -> None:
    world = begun(first, image_id=f"registry.example/scanner@{DIGEST}")
    before = commands(world)
    images = {f"registry.example/scanner:{first.name}", f"registry.example/scanner@{DIGEST}"}

    def check() -> None:
        for key, found in commands(world).items():
            assert [one[1:] for one in found] == [one[1:] for one in before[key]]
            assert {one[0] for one in found} <= images

    for version, passes, killed_after, disturbance in steps:
        for _ in range(passes):
            version.run(world)
            check()
        DISTURBANCES[disturbance](world)
        version.run(world, actions=killed_after)
        check()
        repair(world)
    while not scan_of(world).finished:
        NEW.run(world)
        check()
    finish(world, NEW)
    assert scan_of(world).succeeded


def test_upgrade_and_rollback_change_nothing_of_a_running_scan() -> None:
    world = begun(OLD)
    before = copy.deepcopy(world.objects)
    for version in (NEW, OLD, NEW):
        found = version.decide(world)
        assert not [one for one in found if isinstance(one, Create | Replace | Delete)]
        version.run(world)
    assert set(world.objects) == set(before)
    for key, found in world.objects.items():
        assert found["metadata"] == before[key]["metadata"]
    template = world.objects["Deployment", "alert-workers"]["spec"]["template"]
    assert template == before["Deployment", "alert-workers"]["spec"]["template"]
    finish(world, NEW)
    assert scan_of(world).succeeded


def test_new_scan_runs_what_its_operator_says() -> None:
    assert commands(begun(OLD)) != commands(begun(NEW))
    runs = scan_of(begun(NEW)).status.runs_with
    assert runs is not None
    assert (runs.operator, runs.image) == ("0.2.0", "registry.example/scanner:0.2.0")


def test_older_operator_carries_on_what_a_newer_one_began() -> None:
    world = begun(NEW)
    suspend(world)
    OLD.run(world, 3)
    assert scan_of(world).status.phase is Phase.SUSPENDED
    assert not world.live_pods()
    repair(world)
    OLD.run(world, 3)
    assert world.live_pods(), "resumed"
    assert condition(world, ConditionType.DEGRADED)[1] == Reason.AS_EXPECTED
    finish(world, OLD)
    assert scan_of(world).succeeded
    world.delete()
    OLD.run(world, 5)
    assert world.deleted
    assert not world.topics


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        ("Deployment", "alert-workers", "Deployment of the workers"),
        ("Job", "alert-saver", "Job of the saver"),
        ("ConfigMap", "alert-scan", "ConfigMap"),
    ],
)
def test_older_operator_waits_for_objects_of_the_newer_one(kind: str, name: str, what: str) -> None:
    world = begun(NEW)
    before = commands(world)
    lose(kind, name)(world)
    OLD.run(world, 5)
    assert (kind, name) not in world.objects
    truth, reason, message = condition(world, ConditionType.DEGRADED)
    assert (truth, reason) == ("True", Reason.OTHER_VERSION)
    assert f"this operator (0.1.0) cannot create its {what}, since operator 0.2.0 began the scan" in message
    assert "install operator and definition of the version that wrote this" in message
    assert not scan_of(world).finished
    NEW.run(world, 2)
    assert commands(world) == before
    assert condition(world, ConditionType.DEGRADED)[1] == Reason.AS_EXPECTED
    finish(world, NEW)
    assert scan_of(world).succeeded


def test_role_without_memory_waits_for_the_newer_operator() -> None:
    world = begun(NEW, passes=1, tasks=40)
    world.saver_needs = 3000
    OLD.run(world, 40)
    assert world.objects["Job", "alert-saver"]["status"]["conditions"][0]["type"] == "Failed"
    assert not scan_of(world).finished
    assert condition(world, ConditionType.DEGRADED)[1] == Reason.OTHER_VERSION
    assert "cannot create its Job of the saver again" in condition(world, ConditionType.DEGRADED)[2]
    finish(world, NEW)
    check_succeeded(world)


def test_work_that_pulsar_lost_waits_for_the_newer_operator() -> None:
    world = begun(NEW, tasks=200)
    while "status" not in world.objects["Job", "alert-producer"]:
        NEW.run(world)
    world.topics.clear()
    world.work, world.frames = Work(), ()
    OLD.run(world, 10)
    assert "cannot create its Job of the producer again" in condition(world, ConditionType.DEGRADED)[2]
    finish(world, NEW)
    assert scan_of(world).status.progress == "200/200"


def test_correction_of_a_failed_saver_waits_for_the_newer_operator() -> None:
    world = begun(NEW, passes=1, tasks=40)
    world.bad_format = "png"
    world.scan["spec"]["output"] = {"formats": ["png"]}
    finish(world, NEW)
    assert condition(world, ConditionType.SUCCEEDED)[1] == Reason.OUTPUT_FAILED
    world.scan["spec"]["output"] = {"formats": ["json"]}
    world.scan["metadata"]["generation"] += 1
    OLD.run(world, 3)
    assert condition(world, ConditionType.DEGRADED)[1] == Reason.OTHER_VERSION
    assert "cannot run its saver again" in condition(world, ConditionType.DEGRADED)[2]
    finish(world, NEW)
    check_succeeded(world)


def test_current_operator_writes_a_change_of_the_output() -> None:
    world = begun(OLD)
    before = commands(world)
    world.scan["spec"]["output"] = {"formats": ["json"]}
    NEW.run(world, 3)
    after = commands(world)
    [(image, args, _)] = after.pop(("Job", "alert-saver"))
    assert image == "registry.example/scanner:0.1.0"
    assert args[-3:] == ["--format", "json", "--only-0.2.0"]
    assert after == {key: found for key, found in before.items() if key in after}
    assert not [one for one in OLD.decide(world) if isinstance(one, Create | Replace | Delete)]


def test_resources_change_after_an_upgrade_without_new_arguments() -> None:
    world = begun(OLD)
    before = commands(world)
    world.scan["spec"]["workers"]["resources"] = {"limits": {"memory": "7Gi"}}
    NEW.run(world)
    assert commands(world) == before
    [container] = world.objects["Deployment", "alert-workers"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "7Gi"}}


def test_changed_workers_are_restored_after_an_upgrade() -> None:
    world = begun(OLD)
    before = commands(world)
    [container] = world.objects["Deployment", "alert-workers"]["spec"]["template"]["spec"]["containers"]
    container["args"] = ["worker", "--of-somebody-else"]
    NEW.run(world)
    assert commands(world) == before


def test_nothing_is_recorded_before_the_scan_starts() -> None:
    world = World(resource(URL), pulsar_up=False)
    OLD.run(world, 3)
    assert scan_of(world).status.runs_with is None
    world.pulsar_up = True
    NEW.run(world)
    runs = scan_of(world).status.runs_with
    assert runs is not None
    assert runs.image == "registry.example/scanner:0.2.0"


# The spec and the record of other versions.


def with_newer_field(world: World) -> None:
    world.scan["spec"]["ofTheFuture"] = {"a": 1}


def with_newer_value(world: World) -> None:
    world.scan["spec"]["priority"] = "Leisurely"


@pytest.mark.parametrize("change", [with_newer_field, with_newer_value])
@pytest.mark.parametrize("passes", [0, 4])
def test_spec_that_cannot_be_read_makes_the_scan_wait(change: Callable[[World], None], passes: int) -> None:
    world = World(resource(URL), tasks=400)
    NEW.run(world, passes)
    before, spec = copy.deepcopy(world.objects), copy.deepcopy(world.scan["spec"])
    workers = scan_of(world).status.workers
    change(world)
    world.scan["metadata"]["generation"] += 1
    for _ in range(3):
        assert not [one for one in OLD.decide(world) if isinstance(one, Create | Replace | Delete | Patch)]
        OLD.run(world)
    truth, reason, message = condition(world, ConditionType.DEGRADED)
    assert (truth, reason) == ("True", Reason.OTHER_VERSION)
    assert "cannot read the spec: spec." in message
    status = scan_of(world).status
    assert set(world.objects) == set(before)
    assert not scan_of(world).finished
    assert status.observed_generation < world.scan["metadata"]["generation"]
    if workers is not None:
        assert status.workers is not None
        assert status.workers.desired == workers.desired, "its workers still count"
    world.scan["spec"] = spec
    finish(world, NEW)
    assert scan_of(world).succeeded


@pytest.mark.parametrize("spec_too", [False, True])
def test_scan_without_a_readable_spec_can_be_deleted(spec_too: bool) -> None:
    world = begun(NEW)
    if spec_too:
        with_newer_field(world)
    world.delete()
    OLD.run(world, 6)
    assert world.deleted
    assert not world.topics


def test_unreadable_record_is_kept_and_nothing_is_touched() -> None:
    world = begun(NEW)
    world.scan["status"]["runsWith"]["tenant"] = {"name": "icecube", "cluster": "a"}
    recorded = copy.deepcopy(world.scan["status"]["runsWith"])
    found = OLD.decide(world)
    assert not [one for one in found if isinstance(one, Create | Replace | Delete | Patch)]
    [written] = [one.status for one in found if isinstance(one, SetStatus)]
    degraded = written.condition(ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.reason is Reason.OTHER_VERSION
    assert "cannot read status.runsWith: tenant" in degraded.message
    assert scan_of(world).recorded == recorded
    world.delete()
    assert not [one for one in OLD.decide(world) if not isinstance(one, SetStatus | Emit)], "its topics are not known"


# The digest of the image.


def test_later_pods_run_the_digest_of_the_first() -> None:
    world = begun(OLD, image_id=f"registry.example/scanner@{DIGEST}")
    runs = scan_of(world).status.runs_with
    assert runs is not None
    assert runs.image_id == world.image_id
    before = commands(world)["Deployment", "alert-workers"]
    assert before[0][0] == "registry.example/scanner:0.1.0", "running workers are not restarted for it"
    world.image_id = "registry.example/scanner@sha256:" + "cd" * 32  # the name now means another image
    lose("Deployment", "alert-workers")(world)
    lose("Job", "alert-saver")(world)
    OLD.run(world, 3)
    for key in (("Deployment", "alert-workers"), ("Job", "alert-saver")):
        assert commands(world)[key][0][0] == f"registry.example/scanner@{DIGEST}"
    assert not [one for one in OLD.decide(world) if isinstance(one, Replace | Delete)]
    assert not [one for one in NEW.decide(world) if isinstance(one, Replace | Delete)]


def test_pod_of_somebody_else_gives_no_digest() -> None:
    world = begun(OLD, passes=1, image_id=f"registry.example/scanner@{DIGEST}")
    world.step()
    for pod in world.pods.values():
        assert pod["status"]["containerStatuses"][0]["imageID"]
        pod["metadata"]["ownerReferences"][0]["uid"] = "of-somebody-else"
    OLD.run(world)
    runs = scan_of(world).status.runs_with
    assert runs is not None
    assert runs.image_id is None
