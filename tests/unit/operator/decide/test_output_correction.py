"""Results that cannot be written lose no fit: the saver runs again with another output, or with more memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator.decisions import URL, check_succeeded, reconcile, running, scan_of, settle
from tests.unit.operator.world import SETTINGS, World, resource

from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import Delete
from skymap_operator.decide.plan import decide
from skymap_operator.decide.wanted import recipe_of
from skymap_operator.observe.state import deletes_topics

ALL = URL | {"output": {"formats": ["json", "flat-fits"]}}


def edit(world: World, **changes: Any) -> None:
    """Change the spec as ``kubectl edit`` does."""
    world.scan["spec"] |= changes
    world.scan["metadata"]["generation"] += 1


def outcome(world: World) -> tuple[str, Reason, str]:
    condition = scan_of(world).status.condition(ConditionType.SUCCEEDED)
    assert condition is not None
    return condition.status, condition.reason, condition.message


def saver(world: World) -> Any:
    return world.objects["Job", "alert-saver"]["spec"]["template"]["spec"]["containers"][0]


def events(world: World, reason: str) -> list[str]:
    return [event.message for event in world.events if event.reason == reason]


def failed(spec: dict[str, Any] = ALL) -> World:
    """A scan whose saver has failed for one of its formats."""
    world = World(resource(spec), bad_format="flat-fits")
    settle(world)
    status, reason, message = outcome(world)
    assert (status, reason) == ("False", Reason.OUTPUT_FAILED)
    assert message.startswith("saver failed: Error: the format flat-fits cannot be written - no fit is lost: ")
    assert scan_of(world).status.phase is Phase.FAILED
    assert not world.live_pods()
    return world


@pytest.mark.parametrize("topics", ["Always", "OnSuccess", "OnDelete"])
def test_topics_stay_when_only_the_output_failed(topics: str) -> None:
    world = failed(ALL | {"cleanupPolicy": {"topics": topics, "pods": "Always"}})
    assert set(world.topics) == set(world.own.all())
    world.delete()
    settle(world)
    assert not world.topics


def test_other_output_makes_the_saver_run_again_after_the_failure() -> None:
    world = failed()
    sent = world.work.sent
    edit(world, output={"formats": ["json"]})
    reconcile(world)
    assert events(world, "RunAgain") == ["the scan was corrected after its saver failed: the saver runs again"]
    settle(world)
    check_succeeded(world)
    assert world.work.sent in {0, sent}, "no fit is done again"


@pytest.mark.parametrize("pods", ["Always", "OnDelete"])
def test_suspended_and_resumed_scan_tries_to_save_again(pods: str) -> None:
    world = failed(ALL | {"cleanupPolicy": {"pods": pods}})
    world.bad_format = ""  # somebody has removed the cause
    settle(world)
    assert outcome(world)[1] is Reason.OUTPUT_FAILED, "nothing happens before the scan changes"
    edit(world, suspend=True)
    settle(world)
    assert (outcome(world)[0], scan_of(world).status.phase) == ("Unknown", Phase.SUSPENDED)
    edit(world, suspend=False)
    settle(world)
    check_succeeded(world)


@pytest.mark.parametrize("complete", [False, True])
def test_saver_of_another_image_runs_again_once_the_image_is_restored(*, complete: bool) -> None:
    """Somebody has pushed another image under the tag, and the saver's node pulls it before or after the last fit."""
    spec = ALL | {"cleanupPolicy": {"topics": "Always"}}
    world = failed(spec) if complete else running(spec, passes=5, tasks=40)
    assert (world.work.collected == world.tasks) is complete
    world.other_software, world.bad_format = True, ""
    edit(world, retries={"roleRestarts": 3})
    settle(world)
    status, reason, message = outcome(world)
    assert (status, reason) == ("False", Reason.OUTPUT_FAILED)
    assert message == (
        "saver failed: Error: the scan was begun by skymap-scanner 0.0.9, this is skymap-scanner 0.1.0 - "
        "no fit is lost: restore the image that began the scan and run skymap-scanner abort --resume, and the saver "
        "runs again"
    )
    assert set(world.topics) == set(world.own.all())
    world.other_software = False
    edit(world, suspend=True)
    reconcile(world)
    edit(world, suspend=False)
    settle(world)
    check_succeeded(world)


def test_scan_that_fails_again_can_be_corrected_again() -> None:
    world = failed()
    edit(world, retries={"roleRestarts": 3})
    settle(world)
    assert outcome(world)[:2] == ("False", Reason.OUTPUT_FAILED)
    edit(world, output={"formats": ["json"]})
    settle(world)
    check_succeeded(world)


def test_deadline_does_not_count_the_time_until_the_correction() -> None:
    world = failed(ALL | {"activeDeadlineSeconds": 3600, "ttlSecondsAfterFinished": {"failed": 100_000}})
    world.now += timedelta(hours=5)
    edit(world, output={"formats": ["json"]})
    settle(world)
    check_succeeded(world)


def test_deadline_does_not_count_the_time_until_the_scan_is_resumed() -> None:
    """As ``skymap-scanner abort --resume`` does: the operator sees the suspension, or it does not."""
    for seen in (True, False):
        world = failed(ALL | {"activeDeadlineSeconds": 3600, "ttlSecondsAfterFinished": {"failed": 100_000}})
        world.bad_format = ""
        world.now += timedelta(hours=5)
        edit(world, suspend=True)
        for _ in range(4 * seen):
            reconcile(world)
            world.step()
        edit(world, suspend=False)
        settle(world)
        check_succeeded(world)


def test_correction_survives_an_operator_that_is_killed_at_any_action() -> None:
    for most in range(8):
        world = failed()
        edit(world, output={"formats": ["json"]})
        for _ in range(3):
            reconcile(world, most)
            world.step()
        settle(world)
        check_succeeded(world)


def test_scan_that_failed_otherwise_stays_failed() -> None:
    world = World(resource(URL), bad_event=True)
    settle(world)
    assert outcome(world)[1] is Reason.EVENT_UNUSABLE
    edit(world, output={"formats": ["json"]})
    settle(world)
    assert outcome(world)[1] is Reason.EVENT_UNUSABLE
    assert not deletes_topics(scan_of(world))


@pytest.mark.parametrize("output", [{"formats": ["json"]}, {"path": "elsewhere"}, {"claim": {"name": "other"}}])
def test_changed_output_replaces_the_saver_of_a_running_scan(output: dict[str, Any]) -> None:
    world = running(passes=5)
    before = {role: world.objects["Job", f"alert-{role}"]["metadata"]["uid"] for role in ("producer", "saver")}
    edit(world, output=output)
    reconcile(world)
    assert events(world, "RunAgain") == ["the saver runs again with changed settings"]
    for _ in range(3):
        world.step()
        reconcile(world)
    after = {role: world.objects["Job", f"alert-{role}"]["metadata"]["uid"] for role in ("producer", "saver")}
    assert after["producer"] == before["producer"]
    assert after["saver"] != before["saver"]
    assert ("json" in saver(world)["args"]) is ("formats" in output)
    assert any("elsewhere" in word for word in saver(world)["args"]) is ("path" in output)
    assert not any(isinstance(action, Delete) for action in decide(world.observe(), SETTINGS).actions)


def test_output_that_changes_when_all_is_written_is_written_again() -> None:
    world = World(resource(URL))
    while world.work.progress is None or not world.work.progress.outputs:
        reconcile(world)
        world.step()
    assert scan_of(world).status.outputs is None
    edit(world, output={"path": "elsewhere"})
    settle(world)
    outputs = scan_of(world).status.outputs
    assert outputs is not None
    assert outputs.path == "elsewhere"
    assert events(world, "RunAgain") == ["the saver runs again with changed settings"]


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize(("needs", "limit"), [(3000, "4096Mi"), (5000, "8Gi"), (8192, "8Gi")])
def test_role_that_exceeds_its_memory_gets_twice_as_much(needs: int, limit: str, *, asks: bool) -> None:
    world = World(resource(URL), saver_needs=needs, saver_asks=asks)
    settle(world)
    check_succeeded(world)
    assert saver(world)["resources"]["limits"]["memory"] == limit
    assert saver(world)["resources"]["requests"] == {"cpu": "100m", "memory": "512Mi"}
    (raised,) = scan_of(world).status.role_memory or ()
    before = "2Gi" if limit == "4096Mi" else "4096Mi"
    assert (raised.role, raised.limit, raised.message) == (
        "saver", limit, f"its memory limit of {before} was too low",
    )  # fmt: skip
    last = events(world, "MemoryRaised")[-1]
    assert last == f"saver: its memory limit of {before} was too low; it runs again with {limit}"
    assert len(events(world, "MemoryRaised")) == (1 if limit == "4096Mi" else 2)


def test_memory_is_raised_no_further_than_the_settings_allow() -> None:
    world = World(resource(URL | {"retries": {"roleRestarts": 2}}), saver_needs=9000)
    settle(world)
    status, reason, message = outcome(world)
    assert (status, reason) == ("False", Reason.OUTPUT_FAILED)
    assert message.startswith("saver failed: it exceeded its memory limit; raise the limit")
    assert saver(world)["resources"]["limits"]["memory"] == "8Gi"
    world.saver_needs = 6000  # with fewer formats
    edit(world, output={"formats": ["json"]})
    settle(world)
    check_succeeded(world)


def test_memory_is_not_raised_if_the_settings_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    never = SETTINGS.model_copy(update={"role_memory_max": "0"})
    monkeypatch.setattr("tests.unit.operator.decisions.SETTINGS", never)
    world = World(resource(URL | {"retries": {"roleRestarts": 2}}), saver_needs=3000)
    settle(world)
    assert outcome(world)[1] is Reason.OUTPUT_FAILED
    assert scan_of(world).status.role_memory is None
    assert saver(world)["resources"]["limits"]["memory"] == "2Gi"


@pytest.mark.parametrize(("most", "limit"), [("8Gi", "8Gi"), ("6Gi", "6Gi"), ("1Gi", "2Gi"), ("0", "2Gi")])
def test_memory_that_was_raised_follows_a_lower_maximum(most: str, limit: str) -> None:
    """The limit of before is in the status, which outlives the settings."""
    world = World(resource(URL), saver_needs=5000)
    settle(world)
    state, settings = world.observe(), SETTINGS.model_copy(update={"role_memory_max": most})
    assert state.scan.spec is not None
    resources = recipe_of(state, state.scan.spec, settings).role_resources("saver")
    assert (resources.limits or {})["memory"] == limit


def test_job_that_failed_while_the_operator_was_away_gets_more_memory() -> None:
    world = World(resource(URL | {"retries": {"roleRestarts": 1}}), saver_needs=3000)
    while not (world.work.ended and world.work.collected == world.tasks):
        reconcile(world)
        world.step()
    for _ in range(20):
        world.step()
    assert world.objects["Job", "alert-saver"]["status"]["conditions"][0]["type"] == "Failed"
    settle(world)
    check_succeeded(world)
