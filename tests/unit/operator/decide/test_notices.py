"""Who may have notices, and what the status says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.operator.decisions import URL, observed, snapshot
from tests.unit.operator.manifests.test_notices import DESTINATIONS, asking, settings
from tests.unit.operator.recipes import Manifest, spec_of
from tests.unit.operator.world import NAMESPACE, World, resource

from skymap_api.progress import ProgressPhase
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, NoticesStatus, NoticeStatus, Phase, Reason
from skymap_operator.decide.allowed import not_allowed
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.plan import decide
from skymap_operator.decide.status import Verdict, condition_events, judge_notices, next_status
from skymap_operator.observe.state import PulsarState
from skymap_operator.settings import Settings

SENT = NoticesStatus(ended=True)
NOTICE = NoticeStatus(to="slack", type="update", state="Sent", sent=datetime(2026, 1, 1, tzinfo=UTC))


def notice(**changes: Any) -> NoticeStatus:
    return NOTICE.model_copy(update=changes)


def refused(*names: str) -> str:
    found = not_allowed(NAMESPACE, spec_of(asking(*names)), settings())
    return "" if found is None else found.message


def test_destinations_are_open_to_the_namespaces_that_are_listed() -> None:
    assert NAMESPACE == "alerts"
    assert refused("hook", "hidden", "chat", "gcn") == ""
    advice = "leave it out, or ask the administrator for it (settings.notices of the chart)"
    named = "notices.to (closed), notices.to (theirs), notices.to (nobody)"
    assert refused("hook", "closed", "theirs", "nobody") == f"the administrator does not allow {named} - {advice}"


HOOK = {"to": "webhook=https://a.org/", "trustedKey": "a.crt"}


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ({"to": "gcn"}, {"to": "gcn=gcn.notices.a.b"}, "two destinations of the kind gcn"),
        ({"to": "webhook"}, {"to": "webhook"}, "two names of webhook"),
        (HOOK, {"to": "slack", "trustedKey": "b.crt"}, "two destinations with different trustedKey"),
        (HOOK, {"to": "cloudevents=https://a.org/", "trustedKey": "a.crt"}, ""),
        (HOOK, {"to": "slack"}, ""),
    ],
)
def test_destinations_that_one_saver_cannot_have_are_refused(one: Manifest, two: Manifest, message: str) -> None:
    both = settings({"name": "one", "namespaces": ["*"], **one}, {"name": "two", "namespaces": ["*"], **two})
    found = not_allowed(NAMESPACE, spec_of(asking("one", "two")), both)
    assert message in ("" if found is None else found.message)
    assert (found is not None) == bool(message)
    for name in ("one", "two"):
        assert not_allowed(NAMESPACE, spec_of(asking(name)), both) is None


@pytest.mark.parametrize(
    ("notices", "judged"),
    [
        (NoticesStatus(), ("Unknown", Reason.IN_PROGRESS, "")),
        (NoticesStatus(destinations=(notice(),)), ("Unknown", Reason.IN_PROGRESS, "")),
        (
            NoticesStatus(destinations=(notice(state="Pending", sent=None, message="503"),)),
            ("Unknown", Reason.IN_PROGRESS, ""),
        ),
        (
            NoticesStatus(destinations=(notice(),), ended=True),
            ("True", Reason.NOTICES_SENT, "sent: update notice to slack"),
        ),
        (NoticesStatus(ended=True), ("True", Reason.NOTICES_SENT, "sent: nothing, since nothing was to be sent")),
    ],
)
def test_notices_are_judged(notices: NoticesStatus, judged: tuple[str, Reason, str]) -> None:
    assert judge_notices(notices) == judged


@pytest.mark.parametrize(
    ("notices", "named"),
    [
        (NoticesStatus(destinations=(notice(state="Failed", message="404"),)), "update notice to slack: 404 - "),
        (NoticesStatus(destinations=(notice(state="Pending"),), ended=True), "update notice to slack: no answer - "),
        (NoticesStatus(fault="cannot read /notices/a/b\x1b"), "cannot read /notices/a/b\\x1b - "),
    ],
)
def test_notice_that_is_not_sent_is_a_warning(notices: NoticesStatus, named: str) -> None:
    before = observed(asking("hook")).scan.status
    state = PulsarState(progress=snapshot(ProgressPhase.DONE, notices=notices))
    found = next_status(observed(asking("hook"), pulsar=state), Verdict(Phase.WRITING))
    condition = found.condition(ConditionType.NOTIFIED)
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", Reason.NOTICES_FAILED)
    assert condition.message.startswith(named)
    assert found.phase is Phase.WRITING, "notices do not fail a scan"
    emitted = [(one.type, one.reason) for one in condition_events(before, found)]
    assert ("Warning", "NoticesFailed") in emitted


def test_condition_is_only_there_for_scans_with_notices() -> None:
    assert next_status(observed(URL), Verdict(Phase.PENDING)).condition(ConditionType.NOTIFIED) is None
    found = next_status(observed(asking("hook")), Verdict(Phase.PENDING)).condition(ConditionType.NOTIFIED)
    assert found is not None
    assert (found.status, found.reason) == ("Unknown", Reason.IN_PROGRESS)


def test_condition_outlives_the_topics() -> None:
    state = observed(asking("hook"))
    sent = Condition(
        type=ConditionType.NOTIFIED,
        status="True",
        last_transition_time=state.now,
        reason=Reason.NOTICES_SENT,
        message="sent: all",
    )
    scan = state.scan.__class__(
        **{**vars(state.scan), "status": state.scan.status.model_copy(update={"conditions": (sent,)})}
    )
    kept = next_status(observed(scan=scan), Verdict(Phase.SUCCEEDED)).condition(ConditionType.NOTIFIED)
    assert kept is not None
    assert (kept.status, kept.message) == ("True", "sent: all")


def judged_after(before: SkymapScanStatus, pulsar: PulsarState, phase: Phase) -> tuple[str, Reason, str]:
    """Return the condition Notified that follows a status."""
    scan = replace(observed(asking("hook")).scan, status=before)
    found = next_status(observed(scan=scan, pulsar=pulsar), Verdict(phase)).condition(ConditionType.NOTIFIED)
    assert found is not None
    return found.status, found.reason, found.message


@pytest.mark.parametrize(
    ("notices", "sent"),
    [
        (None, "nothing"),
        (
            NoticesStatus(destinations=(notice(type="initial"), notice(to="gcn", state="Pending"))),
            "initial notice to slack",
        ),
    ],
)
@pytest.mark.parametrize("topics", ["kept", "deleted"])
def test_failed_scan_does_not_wait_for_its_notices(notices: NoticesStatus | None, sent: str, topics: str) -> None:
    running = PulsarState(progress=snapshot(ProgressPhase.SCANNING, notices=notices))
    before = next_status(observed(asking("hook"), pulsar=running), Verdict(Phase.SCANNING))
    now = running if topics == "kept" else PulsarState()
    assert judged_after(before, now, Phase.SCANNING) == ("Unknown", Reason.IN_PROGRESS, "")
    advice = "scan the event again, or tell its readers by other means"
    message = f"the scan failed before its result was sent; sent: {sent} - {advice}"
    assert judged_after(before, now, Phase.FAILED) == ("False", Reason.NOTICES_FAILED, message)


def test_failed_scan_whose_notices_are_sent_is_notified() -> None:
    assert judge_notices(NoticesStatus(destinations=(notice(),), ended=True), failed=True)[0] == "True"


def test_corrected_scan_may_still_send_its_notices() -> None:
    state = observed(asking("hook"))
    failed = next_status(state, Verdict(Phase.FAILED, outcome=Finding(Reason.OUTPUT_FAILED, "the claim is full")))
    assert judged_after(failed, PulsarState(), Phase.FAILED)[0] == "False"
    changed = failed.model_copy(update={"observed_generation": state.scan.generation - 1})
    assert judged_after(changed, PulsarState(), Phase.WRITING) == ("Unknown", Reason.IN_PROGRESS, "")


def carry_on(world: World, of: Settings) -> None:
    for _ in range(5):
        for action in decide(world.observe(), of).actions:
            world.apply(action)
        world.step()


def test_destination_that_closes_while_a_scan_runs_is_left_out() -> None:
    """The scan must not wait for the administrator: its other roles may have to run again."""
    world = World(resource(asking("hook", "chat")), tasks=400)
    carry_on(world, settings())
    del world.objects["Job", "alert-producer"]
    carry_on(world, settings(*(one for one in DESTINATIONS if one["name"] != "chat")))
    found = world.observe().scan.status
    degraded, notified = (found.condition(kind) for kind in (ConditionType.DEGRADED, ConditionType.NOTIFIED))
    assert degraded is not None
    assert degraded.reason is not Reason.NOT_ALLOWED
    assert ("Job", "alert-producer") in world.objects
    assert notified is not None
    assert (notified.status, notified.reason) == ("False", Reason.NOTICES_FAILED)
    assert notified.message.startswith("chat is not open to this namespace (settings.notices of the chart) - ")
    words = world.objects["Job", "alert-saver"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "slack" not in words
    assert "webhook=https://a.org/hook" in words


def test_finished_scan_is_not_judged_by_later_settings() -> None:
    state = observed(asking("hook"), pulsar=PulsarState(progress=snapshot(ProgressPhase.DONE, notices=SENT)))
    done = next_status(state, Verdict(Phase.SUCCEEDED, outcome=Finding(Reason.COMPLETED, "")))
    assert judged_after(done, PulsarState(), Phase.SUCCEEDED)[0] == "True"
    late = NoticesStatus(destinations=(notice(state="Failed"),), ended=True)
    progress = snapshot(ProgressPhase.DONE, notices=late)
    assert judged_after(done, PulsarState(progress=progress), Phase.SUCCEEDED)[0] == "True"


def test_shown_notices_are_bounded_and_printable() -> None:
    long = NoticesStatus(destinations=(notice(to="\x1b" * 1024, message="\n" * 512),), fault="\x07" * 1024)
    state = PulsarState(progress=snapshot(ProgressPhase.SCANNING, notices=long))
    shown = next_status(observed(asking("hook"), pulsar=state), Verdict(Phase.SCANNING)).notices
    assert shown is not None
    (one,) = shown.destinations
    assert (len(one.to), len(one.message or ""), len(shown.fault or "")) == (1024, 512, 1024)
    assert (one.to + (one.message or "") + (shown.fault or "")).isprintable()
