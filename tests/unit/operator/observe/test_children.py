"""What decisions ask of the objects of a scan."""

from __future__ import annotations

from typing import Any

import pytest

from skymap_operator.observe.children import Children, Claim, ConfigMap, Deployment, Job

UID = "uid-1"
GONE = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def manifest(name: str, owner: str | None = UID, **fields: Any) -> dict[str, Any]:
    owners = {} if owner is None else {"ownerReferences": [{"uid": "other"}, {"uid": owner}]}
    return {"metadata": {"name": name, "uid": f"uid-{name}"} | owners | fields.pop("metadata", {})} | fields


def condition(kind: str, truth: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": kind, "status": truth}]}


@pytest.mark.parametrize(
    ("fields", "is_true"),
    [
        ({}, {"lacks_pods"}),
        ({"status": {"active": 1}}, set()),
        ({"status": {"terminating": 1}}, set()),
        ({"spec": {"suspend": True}}, {"suspended"}),
        ({"spec": {"suspend": False}}, {"lacks_pods"}),
        ({"status": condition("Complete")}, {"complete", "finished"}),
        ({"status": condition("Failed")}, {"failed", "finished"}),
        ({"status": condition("Complete", "False")}, {"lacks_pods"}),
        ({"status": condition("FailureTarget")}, {"lacks_pods"}),
        ({"metadata": GONE}, {"terminating", "lacks_pods"}),
        ({"spec": None, "status": None}, {"lacks_pods"}),
    ],
)
def test_job_answers_for_its_conditions(fields: dict[str, Any], is_true: set[str]) -> None:
    job = Job(manifest("a-saver", **fields))
    names = ("complete", "failed", "finished", "suspended", "terminating", "lacks_pods")
    assert {name for name in names if getattr(job, name)} == is_true


@pytest.mark.parametrize(
    ("owner", "metadata", "owned", "managed"),
    [(UID, {}, True, True), (UID, GONE, True, False), ("earlier", {}, False, False), (None, {}, False, False)],
)
def test_child_is_managed_while_owned_and_not_terminating(
    owner: str | None, metadata: dict[str, Any], *, owned: bool, managed: bool
) -> None:
    children = Children.of(UID, deployment=manifest("a-workers", owner, metadata=metadata))
    assert children.deployment is not None
    assert (children.deployment.owned, children.deployment.managed) == (owned, managed)
    assert (children.owned_deployment() is not None) is owned


def test_children_are_found_by_what_they_are() -> None:
    children = Children.of(
        UID,
        manifest("a-scan"),
        manifest("a-workers", spec={"replicas": 3}),
        manifest("a-results", None, status={"phase": "Pending"}),
        {"producer": manifest("a-producer"), "collector": manifest("a-collector", "earlier"), "saver": None},
    )
    assert children.config_map == ConfigMap(manifest("a-scan"))
    assert children.deployment is not None
    assert (children.deployment.replicas, Deployment(manifest("a-workers")).replicas) == (3, 1)
    assert children.claim is not None
    assert (children.claim.bound, children.claim.owned) == (False, False)
    assert Claim(manifest("a-results", status={"phase": "Bound"})).bound
    assert children.jobs.get("saver") is None
    assert children.jobs.get("collector") is not None
    assert children.owned_job("collector") is None
    assert children.owned_job("producer") == children.find("Job", "a-producer")
    assert children.find("Job", "a-workers") is None
    assert [(child.kind, child.name) for child in children] == [
        ("ConfigMap", "a-scan"),
        ("Deployment", "a-workers"),
        ("Job", "a-producer"),
        ("Job", "a-collector"),
    ]


def test_no_children_exist_at_first() -> None:
    assert list(Children.of(UID)) == []
    assert Children.of(UID) == Children()
