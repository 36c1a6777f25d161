from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError
from testing.manifests import cases

from skymap_api.resource import SkymapScan, SkymapScanSpec, given_for_clusters
from skymap_api.resource.status import Condition, SkymapScanStatus


def spec(values: dict[str, Any]) -> SkymapScanSpec:
    return SkymapScan.model_validate(cases.manifest(values)).spec


@pytest.mark.parametrize("case", cases.ACCEPTED, ids=lambda case: case.name)
def test_valid_manifests_are_accepted(case: cases.Accepted) -> None:
    scan = SkymapScan.model_validate(cases.manifest(case.spec))
    wire = scan.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert SkymapScan.model_validate_json(json.dumps(wire)) == scan
    given = scan.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"]
    assert quantities_as_text(case.spec) == given


def quantities_as_text(values: dict[str, Any]) -> dict[str, Any]:
    resources = values.get("workers", {}).get("resources")
    if resources is None:
        return values
    written = {kind: {name: str(amount) for name, amount in amounts.items()} for kind, amounts in resources.items()}
    return values | {"workers": {"resources": written}}


@pytest.mark.parametrize("case", cases.REFUSED, ids=lambda case: case.name)
def test_invalid_manifests_are_rejected(case: cases.Refused) -> None:
    if case.by_cluster_only:
        assert spec(case.spec).event.path == "event.json"
        return
    with pytest.raises(ValidationError) as caught:
        spec(case.spec)
    faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in caught.value.errors()]
    place = "spec." + re.sub(r"\[(\d+)\]", r".\1", case.field)
    if case.message:  # the rule belongs to the object that holds the field
        assert any(place.startswith(where) and case.message in text for where, text in faults)
    else:
        assert place in [where for where, _ in faults]


def test_fields_for_clusters_only_are_listed() -> None:
    assert given_for_clusters(spec(cases.URL)) == []
    given = spec(
        {
            "event": {"url": "http://a.org", "credentialsSecret": {"name": "a"}},
            "levels": [{"nside": 8}],
            "workers": {"min": 1, "max": 2, "podTemplate": {"labels": {"a": "b"}}, "resources": None},
            "output": {"claim": {"name": "b"}, "compression": "gz"},
            "pulsar": {"tenant": "a"},
            "priority": "Realtime",
            "suspend": False,
        }
    )
    assert given_for_clusters(given) == [
        "event.credentialsSecret",
        "workers.min",
        "workers.podTemplate",
        "priority",
        "output.claim",
        "pulsar",
        "suspend",
    ]


def test_validation_leaves_its_input_unchanged() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec(cases.URL).seeds = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_infinite_numbers_are_rejected(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        spec({"event": {"simulate": {"energy": value}}})


def test_status_round_trips() -> None:
    wire = {
        "observedGeneration": 2,
        "phase": "Scanning",
        "conditions": [
            {
                "type": "Degraded",
                "status": "True",
                "observedGeneration": 2,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "reason": "QuotaExceeded",
                "message": "the namespace has no room",
            }
        ],
        "level": 64,
        "progress": "790/1536",
        "pixels": {
            "done": 790,
            "planned": 1536,
            "failed": 1,
            "levels": [{"nside": 8, "done": 768, "planned": 768, "decided": True, "failed": 1}],
        },
        "best": {"nside": 64, "pixel": 12345, "ra": 77.4, "dec": 5.7, "llh": 812.5, "area90": 1.25},
        "workers": {"desired": 20, "ready": 18, "busy": 18, "selector": "a=b"},
        "backlog": 120,
        "rate": 2.5,
        "eta": "2026-01-02T03:14:05Z",
        "outputs": {"claim": "alert", "path": "alert", "files": ["a.i3.zst"]},
        "startTime": "2026-01-02T03:04:06Z",
    }
    status = SkymapScanStatus.model_validate(wire)
    assert status.model_dump(mode="json", by_alias=True, exclude_none=True) == wire
    assert SkymapScanStatus.model_validate(wire | {"ofAnotherVersion": 1}) == status


def test_unknown_reasons_are_rejected() -> None:
    with pytest.raises(ValidationError, match="reason"):
        Condition.model_validate(
            {"type": "Degraded", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z", "reason": "Bad"}
        )
