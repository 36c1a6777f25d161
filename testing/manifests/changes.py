"""Changes of a SkymapScan, accepted and rejected: for the CEL rules of the CRD, and a real API server."""

from __future__ import annotations

from dataclasses import dataclass

from skymap_api.resource import SkymapScanSpec
from testing.manifests.cases import URL, Spec, event, levels, pod

UNCHANGED = "cannot be changed: apply another SkymapScan, or delete this one first"


@dataclass(frozen=True)
class Change:
    """A change from one spec to another; ``field`` is the rejected one, None for an accepted change."""

    name: str
    old: Spec
    new: Spec
    field: str | None = None


_AREA = {"area": {"nside": 8, "pixel": 1, "pixels": 2}}

CHANGES = [
    Change("nothing", URL, URL),
    Change(
        "a default spelled out",
        URL,
        URL
        | {
            "seeds": 3,
            "firstSeeds": 1,
            "levels": [level.model_dump(exclude_none=True) for level in SkymapScanSpec.model_fields["levels"].default],
        },
    ),
    Change("workers", URL, URL | {"workers": {"min": 1, "max": 500, "targetSeconds": 60}}),
    Change("worker pods", URL, pod(nodeSelector={"a": "b"})),
    Change("all pods", URL, URL | {"podTemplate": {"tolerations": [{"operator": "Exists"}]}}),
    Change("priority", URL, URL | {"priority": "Realtime"}),
    Change("notices", URL, URL | {"notices": {"to": ["a"], "alertTense": "test"}}),
    Change("suspend", URL, URL | {"suspend": True}),
    Change("deadlines", URL | {"activeDeadlineSeconds": 60}, URL | {"startingDeadlineSeconds": 60}),
    Change("time to live", URL, URL | {"ttlSecondsAfterFinished": {"succeeded": 5}}),
    Change("cleanup and retries", URL, URL | {"cleanupPolicy": {"topics": "Never"}, "retries": {"roleRestarts": 9}}),
    Change("event", URL, event(url="https://example.org/other.json"), "event"),
    Change("kind of event", URL, event(simulate={}), "event"),
    Change("levels", URL, levels((8, 0)), "levels"),
    Change("area", URL | _AREA, URL | {"area": {"nside": 8, "pixel": 1, "pixels": 3}}, "area"),
    Change("area that was not there", URL, URL | _AREA, "area"),
    Change("area that goes", URL | _AREA, URL, "area"),
    Change("pixels", URL | {"pixels": [1, 2]}, URL | {"pixels": [1, 3]}, "pixels"),
    Change("pixels that go", URL | {"pixels": [1, 2]}, URL, "pixels"),
    Change("seeds", URL, URL | {"seeds": 1}, "seeds"),
    Change("first seeds", URL, URL | {"firstSeeds": 3}, "firstSeeds"),
    Change("calibrate", URL, URL | {"calibrate": 100}, "calibrate"),
    Change("predictive", URL, URL | {"predictive": 0.5}, "predictive"),
    Change("reconstruction", URL, URL | {"reconstruction": {"name": "dummy"}}, "reconstruction"),
    Change(
        "parameters",
        URL | {"reconstruction": {"parameters": {"a": 1}}},
        URL | {"reconstruction": {"parameters": {"a": 2}}},
        "reconstruction",
    ),
    Change("output", URL, URL | {"output": {"path": "elsewhere", "formats": ["json"], "compression": "gz"}}),
    Change("kept seeds", URL, URL | {"output": {"keepAllSeeds": True}}, "output.keepAllSeeds"),
    Change("claim", URL, URL | {"output": {"claim": {"name": "other"}}}),
    Change("size of the claim", URL, URL | {"output": {"claim": {"size": "9Gi"}}}),
    Change("class of the claim", URL | {"output": {"claim": {"storageClassName": "typo"}}}, URL),
    Change("broker", URL | {"pulsar": {"tenant": "a"}}, URL | {"pulsar": {"tenant": "b"}}, "pulsar"),
    Change("broker that was not there", URL, URL | {"pulsar": {"tenant": "a"}}, "pulsar"),
]
