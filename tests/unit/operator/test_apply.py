"""Actions are performed in order up to the first failure, and may be repeated."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, resource

from skymap_api.names import FINALIZER, Names
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import to_manifest
from skymap_api.resource.status import Phase, RunsWith
from skymap_operator.apply import ActionRefused, apply
from skymap_operator.cluster.client import Conflict, Invalid, NotFound, Refused, Unavailable
from skymap_operator.decide import actions as do
from skymap_operator.observe.children import Children, ConfigMap
from skymap_operator.observe.state import ObservedScan, ObservedState, ObservedWarning, PulsarState
from skymap_operator.settings import Settings

TOPIC = "persistent://icecube/skymap/alerts.alert-plan"
SCAN = resource({"event": {"simulate": {}}}, resourceVersion="7", finalizers=["others"])
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c", "namespace": NAMESPACE, "uid": "uid-c", "resourceVersion": "3"},
}


def carry_out(
    actions: Sequence[do.Action],
    cluster: FakeCluster,
    admin: FakeAdmin | None = None,
    children: Children | None = None,
    settings: Settings = SETTINGS,
) -> None:
    observed = ObservedState(datetime.now(UTC), ObservedScan.of(SCAN), PulsarState(), children=children or Children())
    asyncio.run(apply(actions, observed, cluster, FakePulsars(admin or FakeAdmin()), settings))


def test_finalizer_is_added_and_removed_beside_others() -> None:
    cluster = FakeCluster(SCAN)
    for _ in range(2):
        carry_out([do.AddFinalizer()], cluster)
        assert cluster.objects["SkymapScan", NAME]["metadata"]["finalizers"] == ["others", FINALIZER]
    for _ in range(2):
        carry_out([do.RemoveFinalizer()], cluster)
        assert cluster.objects["SkymapScan", NAME]["metadata"]["finalizers"] == ["others"]


def test_later_scan_of_the_same_name_is_untouched() -> None:
    later = SCAN | {"metadata": SCAN["metadata"] | {"uid": "later"}}
    cluster = FakeCluster(later)
    carry_out([do.AddFinalizer()], cluster)
    assert cluster.objects["SkymapScan", NAME] == later
    with pytest.raises(Conflict):
        carry_out([do.DeleteScan()], cluster)
    assert cluster.objects["SkymapScan", NAME] == later


@pytest.mark.parametrize("tenant", ["icecube", {"name": "of-the-future"}])
def test_record_of_another_version_is_written_back_as_it_was(tenant: object) -> None:
    """Server-side apply removes what its owner no longer writes."""
    places = {"serviceUrl": "pulsar://a", "adminUrl": "http://a", "tenant": tenant}
    recorded = {"image": "a:1", "operator": "9.0.0", "ofTheFuture": {"a": 1}} | places
    scan = ObservedScan.of(SCAN | {"status": {"runsWith": recorded}})
    observed = ObservedState(datetime.now(UTC), scan, PulsarState())
    cluster = FakeCluster(SCAN)

    def write(status: SkymapScanStatus) -> object:
        asyncio.run(apply([do.SetStatus(status)], observed, cluster, FakePulsars(FakeAdmin()), SETTINGS))
        return cluster.objects["SkymapScan", NAME]["status"]["runsWith"]

    assert write(scan.status.model_copy(update={"phase": Phase.WRITING})) == recorded
    own = RunsWith(image="b:1", operator="0.1.0", service_url="pulsar://b", admin_url="http://b", tenant="b")
    assert write(scan.status.model_copy(update={"runs_with": own})) == to_manifest(own)


def test_status_and_events_refer_to_this_scan() -> None:
    cluster = FakeCluster(SCAN)
    carry_out([do.SetStatus(SkymapScanStatus(phase=Phase.PENDING)), do.Emit("Normal", "Waiting", "waits")], cluster)
    assert cluster.objects["SkymapScan", NAME]["status"] == {
        "observedGeneration": 0,
        "phase": "Pending",
        "conditions": [],
    }
    [event] = [one for (kind, _), one in cluster.objects.items() if kind == "Event"]
    assert (event["reason"], event["message"], event["involvedObject"]["uid"]) == ("Waiting", "waits", "uid-1")
    carry_out([do.Emit("Normal", "Waiting", "waits")], cluster)
    [event] = [one for (kind, _), one in cluster.objects.items() if kind == "Event"]
    assert event["count"] == 2


def test_creating_existing_object_or_deleting_missing_one_succeeds() -> None:
    mine = CONFIG | {"data": {"mine": "1"}}
    cluster = FakeCluster(mine)
    carry_out([do.Create(CONFIG), do.Delete("Job", "gone")], cluster)
    assert cluster.objects["ConfigMap", "c"] == mine


def test_object_changed_since_observation_is_not_replaced_or_deleted() -> None:
    seen = Children(config_map=ConfigMap(CONFIG))
    changed = CONFIG | {"metadata": CONFIG["metadata"] | {"resourceVersion": "4", "uid": "another"}}
    for action in (do.Replace(CONFIG), do.Delete("ConfigMap", "c")):
        cluster = FakeCluster(changed)
        with pytest.raises(Conflict):
            carry_out([action], cluster, children=seen)
        assert cluster.objects["ConfigMap", "c"] == changed
    cluster = FakeCluster(CONFIG)
    carry_out([do.Replace(CONFIG | {"data": {"new": "1"}})], cluster, children=seen)
    assert cluster.objects["ConfigMap", "c"]["data"] == {"new": "1"}
    carry_out([do.Delete("ConfigMap", "c")], cluster, children=seen)
    assert ("ConfigMap", "c") not in cluster.objects


def test_topics_are_created_with_subscriptions_and_deleted() -> None:
    admin, cluster = FakeAdmin(), FakeCluster(SCAN)
    for _ in range(2):
        carry_out([do.EnsureTopics(((TOPIC, ("workers",)),))], cluster, admin)
        assert {topic: set(found) for topic, found in admin.made.items()} == {TOPIC: {"workers"}}
    for _ in range(2):
        carry_out([do.DeleteTopics((TOPIC,))], cluster, admin)
        assert admin.made == {}


def test_pods_and_page_may_use_the_namespaces_of_scans() -> None:
    given = SETTINGS.model_copy(update={"pulsar_role": "scans", "pulsar_page_role": "a-page"})
    for settings, roles in (
        (given, {"scans": ("produce", "consume"), "a-page": ("consume",)}),
        (given.model_copy(update={"pulsar_role": None}), {"a-page": ("consume",)}),
        (SETTINGS, {}),
    ):
        admin = FakeAdmin()
        carry_out([do.EnsureTopics(((TOPIC, ()),))], FakeCluster(SCAN), admin, settings=settings)
        assert admin.prepared == ("icecube", NAMESPACE, roles)


def test_each_role_is_granted_what_it_needs(tmp_path: Path) -> None:
    admin, signed = FakeAdmin(), SETTINGS.model_copy(update={"pulsar_signing_key_file": str(tmp_path / "key")})
    topics = Names.of(NAMESPACE, NAME).topics("icecube")
    made = do.EnsureTopics(tuple((topic, topics.subscriptions(topic)) for topic in topics.all()))
    carry_out([made], FakeCluster(SCAN), admin, settings=signed)
    names = {role: f"scan-uid-1-{role}" for role in ("producer", "collector", "saver", "worker")}
    frames = f"icecube/skymap_metadata-{NAMESPACE}"
    assert set(admin.granted) == {*topics.all(), frames}, "nothing is granted in the namespace of all scans"
    may = {(place, what) for place, roles in admin.granted.items() for what in roles.get(names["worker"], ())}
    assert may == {
        (topics.to_be_scanned, "consume"),
        (topics.scanned, "produce"),
        (topics.crash_reports, "produce"),
        (topics.crash_reports, "consume"),
        (topics.plan, "consume"),
        (frames, "consume"),
    }
    [writer] = [role for role, what in admin.granted[topics.progress].items() if "produce" in what]
    assert writer == names["saver"]
    assert [role for role, what in admin.granted[frames].items() if "produce" in what] == [names["producer"]]
    carry_out([do.DeleteTopics(topics.all())], FakeCluster(SCAN), admin, settings=signed)
    assert admin.granted == {frames: {}}
    carry_out([made], FakeCluster(SCAN), admin)
    assert admin.granted == {frames: {}}, "without a key no role has a name of its own"


def test_tokens_are_stored_in_their_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    signed = SETTINGS.model_copy(update={"pulsar_signing_key_file": str(tmp_path / "key")})
    secret = {"kind": "Secret", "metadata": {"name": "scan-uid-1-tokens", "namespace": NAMESPACE}, "type": "t"}
    cluster = FakeCluster(SCAN)
    for _ in range(2):
        carry_out([do.IssueTokens(secret)], cluster, settings=signed)
        stored = cluster.objects["Secret", "scan-uid-1-tokens"]
        tokens = {role: base64.b64decode(text).decode() for role, text in stored["data"].items()}
        assert set(tokens) == {"producer", "collector", "saver", "worker"}
        assert len(set(tokens.values())) == 4
        for token in tokens.values():
            assert token.count(".") == 2
            assert token not in caplog.text
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ActionRefused) as caught:
        carry_out([do.IssueTokens(secret)], cluster, settings=signed)
    assert caught.value.warning.reason == "PulsarRefused"
    assert "short" not in caught.value.warning.message
    (tmp_path / "key").write_bytes(bytes(32))
    cluster.faults["put"] = Refused('secrets is forbidden: User "operator" cannot create resource "secrets"')
    with pytest.raises(ActionRefused) as caught:
        carry_out([do.IssueTokens(secret)], cluster, settings=signed)
    assert caught.value.warning.object == "Secret scan-uid-1-tokens"


@pytest.mark.parametrize("fault", [Unavailable("no answer"), Conflict("changed"), NotFound("gone")])
def test_first_failure_ends_the_pass(fault: Exception) -> None:
    cluster = FakeCluster(SCAN)
    cluster.faults["patch"] = fault  # type: ignore[assignment]
    with pytest.raises(type(fault)):
        carry_out([do.Create(CONFIG), do.Patch("Job", "j", {}), do.Delete("Job", "j")], cluster)
    assert cluster.done == ["create ConfigMap c", "patch Job j"]


@pytest.mark.parametrize(
    ("fault", "reason"), [(Refused("exceeded quota: small"), "Refused"), (Invalid("spec.x: too small"), "Invalid")]
)
def test_rejection_names_the_object_and_its_kind(fault: Refused, reason: str) -> None:
    cluster = FakeCluster(SCAN)
    cluster.faults["create"] = fault
    with pytest.raises(ActionRefused) as caught:
        carry_out([do.Create(CONFIG), do.Delete("Job", "j")], cluster)
    assert caught.value.warning == ObservedWarning("ConfigMap c", reason, str(fault))
    assert cluster.done == ["create ConfigMap c"]


def test_pulsar_errors_are_reported_by_their_reason() -> None:
    admin = FakeAdmin()
    admin.fault = PulsarAdminError("403 no right")
    with pytest.raises(ActionRefused) as caught:
        carry_out([do.EnsureTopics(((TOPIC, ()),))], FakeCluster(SCAN), admin)
    assert caught.value.warning == ObservedWarning("Pulsar", "PulsarRefused", "403 no right")
    admin.fault = PulsarUnavailable("no answer")
    with pytest.raises(ActionRefused) as caught:
        carry_out([do.DeleteTopics((TOPIC,))], FakeCluster(SCAN), admin)
    assert caught.value.warning == ObservedWarning("Pulsar", "PulsarUnavailable", "no answer")
