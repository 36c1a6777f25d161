"""Valid and invalid SkymapScans: one table for the models, the CEL rules of the CRD, and a real API server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testing.manifests import pods

Spec = dict[str, Any]

URL = {"event": {"url": "https://example.org/event.json"}}


def manifest(spec: Spec, name: str = "alert") -> dict[str, Any]:
    """Return a manifest with this spec."""
    return {
        "apiVersion": "skymap.icecube.wisc.edu/v1alpha1",
        "kind": "SkymapScan",
        "metadata": {"name": name},
        "spec": spec,
    }


def levels(*pairs: tuple[int, int]) -> Spec:
    return URL | {"levels": [{"nside": nside, "parents": parents} for nside, parents in pairs]}


def event(**fields: Any) -> Spec:
    return {"event": fields}


def pod(**fields: Any) -> Spec:
    return URL | {"workers": {"podTemplate": fields}}


def resources(fields: Spec) -> Spec:
    return URL | {"workers": {"resources": fields}}


@dataclass(frozen=True)
class Accepted:
    """A spec that is accepted."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Refused:
    """A spec that is rejected at ``field``; ``message`` is that of our own rule, if one rejects it.

    ``by_cluster_only``: valid on one machine.
    """

    name: str
    spec: Spec
    field: str
    message: str = ""
    by_cluster_only: bool = False


SOURCES = "give exactly one of url, path, configMap, persistentVolumeClaim, simulate"
ONE_MACHINE = "path is a file on one machine, which a cluster cannot read"
ADDRESS = "url must be http://HOST... or https://HOST..., without user and password"
INSIDE = "path must be relative to the claim and stay inside it"
FIRST = "levels: the first has no level before it to refine, its parents must be 0, without probability"
FINER = "levels: each must be finer than the one before it (a greater nside), with at least 1 parent"
PIXELS = "pixels: one is outside the first level"
BROKER = "serviceUrl must be pulsar://HOST:PORT or pulsar+ssl://HOST:PORT, without credentials"
ADMIN = "adminUrl must be http://HOST:PORT or https://HOST:PORT, without credentials"
CLAIM = "size and storageClassName are for a new claim"
SIZE = "size must be more than 0"
RESULTS = "resultsUrl is published: it must be http://HOST... or https://HOST..., without user, password and query"
FILES = "notices: are made from the json or the npz file: output.formats must have one of them"

_SHARE = {"nside": 64, "parents": 96, "probability": 0.999}

ACCEPTED = [
    Accepted("url", URL),
    Accepted("url with port, query and fragment", event(url="http://[::1]:8080?a=b@c#d")),
    Accepted(
        "url with credentials", event(url="https://a.org/e.i3.zst", credentialsSecret={"name": "i3live"}, select="1/2")
    ),
    Accepted("sub-event", event(url="https://a.org/e", select="1/2/0")),
    Accepted(
        "sub-event of a stream", event(url="https://a.org/e", select=f"{'9' * 10}/{'9' * 10}/{'a' * 64}/{'9' * 10}")
    ),
    Accepted("config map", event(configMap={"name": "alert", "key": "e.json"}, pulseSeries="SplitInIcePulses")),
    Accepted("claim", event(persistentVolumeClaim={"claimName": "data", "path": "runs/..2024/e.i3.zst"})),
    Accepted("simulate with defaults", event(simulate={})),
    Accepted(
        "simulate",
        event(simulate={"topology": "cascade", "ra": 0, "dec": -90, "energy": 1e9, "seed": 2**32 - 1}),
    ),
    Accepted("one level", levels((1, 0))),
    Accepted("all levels", levels((1, 0), *((2**power, 1) for power in range(1, 14)))),
    Accepted("level with a probability", URL | {"levels": [{"nside": 8}, _SHARE]}),
    Accepted("area at the last pixel", levels((8, 0)) | {"area": {"nside": 8, "pixel": 767, "pixels": 768}}),
    Accepted("pixels", levels((1, 0)) | {"pixels": [11, 0, 0]}),
    Accepted("pixels of an area", levels((1, 0)) | {"pixels": [0], "area": {"nside": 8192, "pixel": 0, "pixels": 12}}),
    Accepted("many pixels", levels((32, 0)) | {"pixels": list(range(4096))}),
    Accepted("all seeds at once", URL | {"seeds": 3, "firstSeeds": 3}),
    Accepted("calibrated for the event", URL | {"calibrate": 60}),
    Accepted("one seed, predictive", URL | {"seeds": 1, "predictive": 0.9}),
    Accepted(
        "reconstruction",
        URL
        | {
            "reconstruction": {
                "name": "dummy",
                "parameters": {"a": 1, "b": 0.5, "c": "x", "d": True},
                "maxTaskSeconds": 1,
            }
        },
    ),
    Accepted("workers", URL | {"workers": {"min": 3, "max": 3, "targetSeconds": 60}}),
    Accepted("min with the default of max", URL | {"workers": {"min": 100}}),
    Accepted(
        "pod template",
        pod(
            labels={"team": "realtime", "skymap.icecube.wisc.edu": "x"},
            annotations={"a.org/note": "some words"},
            nodeSelector={"kubernetes.io/arch": "amd64"},
            tolerations=[
                {"operator": "Exists"},
                {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 9},
            ],
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]},
                            {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["a.b"]}]},
                        ]
                    },
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}
                    ],
                },
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
                            "namespaces": ["other"],
                            "namespaceSelector": {},
                            "mismatchLabelKeys": ["pod-template-hash"],
                        }
                    ]
                },
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
            },
            priorityClassName="urgent",
            serviceAccountName="scans",
            imagePullSecrets=[{"name": "registry"}],
        ),
    ),
    *(Accepted(f"worker pods: {one.name}", pod(**one.fields)) for one in pods.VALID),
    *(Accepted(f"all pods: {one.name}", URL | {"podTemplate": one.fields}) for one in pods.VALID),
    *(Accepted(f"resources: {one.name}", resources(one.fields)) for one in pods.VALID_RESOURCES),
    Accepted("named claim", URL | {"output": {"claim": {"name": "results"}, "path": "2024/alert..1"}}),
    Accepted("new claim", URL | {"output": {"claim": {"size": "5Gi", "storageClassName": "fast"}}}),
    Accepted("tiny claim", URL | {"output": {"claim": {"size": "0.0001"}}}),
    Accepted(
        "output", URL | {"output": {"formats": ["json", "flat-fits"], "keepAllSeeds": True, "compression": "none"}}
    ),
    Accepted(
        "pulsar",
        URL
        | {
            "pulsar": {
                "serviceUrl": "pulsar+ssl://broker.a.org:6651/",
                "adminUrl": "https://broker.a.org:8443/base",
                "tenant": "icecube",
                "tokenSecret": {"name": "pulsar", "key": "jwt"},
                "tlsSecret": {"name": "pulsar-tls"},
            }
        },
    ),
    Accepted(
        "notices",
        URL
        | {
            "notices": {"to": ["observatory", "gcn"], "alertTense": "test", "resultsUrl": "https://a.org/maps/1"},
            "output": {"formats": ["npz", "png"]},
        },
    ),
    Accepted(
        "notices of all formats", URL | {"notices": {"to": ["a"], "alertTense": "archival"}, "output": {"formats": []}}
    ),
    Accepted(
        "life",
        URL
        | {
            "suspend": True,
            "priority": "Realtime",
            "ttlSecondsAfterFinished": {"succeeded": 0, "failed": 86400},
            "activeDeadlineSeconds": 7200,
            "startingDeadlineSeconds": 600,
            "cleanupPolicy": {"topics": "Never", "pods": "Always"},
            "retries": {"taskAttempts": 1, "roleRestarts": 0},
        },
    ),
]

REFUSED = [
    Refused("no event", {}, "event"),
    Refused("notices to nobody", URL | {"notices": {"to": [], "alertTense": "test"}}, "notices.to"),
    Refused("notices that are not marked", URL | {"notices": {"to": ["a"]}}, "notices.alertTense"),
    Refused(
        "results behind a query",
        URL | {"notices": {"to": ["a"], "alertTense": "test", "resultsUrl": "https://a.org/?token=1"}},
        "notices.resultsUrl",
        RESULTS,
    ),
    Refused(
        "notices without their file",
        URL | {"notices": {"to": ["a"], "alertTense": "test"}, "output": {"formats": ["png"]}},
        "notices",
        FILES,
    ),
    Refused("no source", event(), "event", SOURCES),
    Refused("two sources", event(url="http://a.org/", simulate={}), "event", SOURCES),
    Refused("a path on a cluster", event(path="event.json"), "event.path", ONE_MACHINE, by_cluster_only=True),
    Refused("url of another kind", event(url="ftp://a.org/e.json"), "event.url", ADDRESS),
    Refused("url with password", event(url="https://me:secret@a.org/e.json"), "event.url", ADDRESS),
    Refused("url without host", event(url="https:///e.json"), "event.url", ADDRESS),
    Refused("url with a blank", event(url="https://a.org/e .json"), "event.url", ADDRESS),
    Refused(
        "credentials without url",
        event(simulate={}, credentialsSecret={"name": "a"}),
        "event.credentialsSecret",
        "credentialsSecret belongs to a url",
    ),
    Refused("select", event(url="http://a.org", select="1-2"), "event.select"),
    Refused("select's sub-event", event(url="http://a.org", select="1/2/InIceSplit"), "event.select"),
    Refused(
        "secret's name", event(url="http://a.org", credentialsSecret={"name": "A b"}), "event.credentialsSecret.name"
    ),
    Refused(
        "event out of its claim",
        event(persistentVolumeClaim={"claimName": "data", "path": "a/../../b"}),
        "event.persistentVolumeClaim.path",
        INSIDE,
    ),
    Refused(
        "event at an absolute path",
        event(persistentVolumeClaim={"claimName": "data", "path": "/b"}),
        "event.persistentVolumeClaim.path",
        INSIDE,
    ),
    Refused("right ascension", event(simulate={"ra": 360}), "event.simulate.ra"),
    Refused("declination", event(simulate={"dec": 90.1}), "event.simulate.dec"),
    *(
        Refused(
            f"{name} alone", event(simulate={name: 1}), "event.simulate", "a direction needs both ra and dec; without"
        )
        for name in ("ra", "dec")
    ),
    Refused("energy", event(simulate={"energy": 0}), "event.simulate.energy"),
    Refused("seed", event(simulate={"seed": 2**32}), "event.simulate.seed"),
    Refused("topology", event(simulate={"topology": "double"}), "event.simulate.topology"),
    Refused("no level", URL | {"levels": []}, "levels"),
    Refused("no power of two", levels((8, 0), (63, 12)), "levels[1].nside"),
    Refused("finer than the scanner allows", levels((8, 0), (16384, 12)), "levels[1].nside"),
    Refused("no nside", URL | {"levels": [{"parents": 0}]}, "levels[0].nside"),
    Refused("parents in the first level", levels((8, 12)), "levels", FIRST),
    Refused("probability in the first level", URL | {"levels": [_SHARE]}, "levels", FIRST),
    Refused("probability of 1", URL | {"levels": [{"nside": 8}, _SHARE | {"probability": 1}]}, "levels[1].probability"),
    Refused("probability, no parents", URL | {"levels": [{"nside": 8}, _SHARE | {"parents": 0}]}, "levels", FINER),
    Refused("descending levels", levels((8, 0), (64, 12), (32, 12)), "levels", FINER),
    Refused("equal levels", levels((8, 0), (8, 12)), "levels", FINER),
    Refused("level without parents", levels((8, 0), (64, 12), (512, 0)), "levels", FINER),
    Refused(
        "area outside its grid",
        URL | {"area": {"nside": 8, "pixel": 768, "pixels": 1}},
        "area.pixel",
        "pixel is outside the grid",
    ),
    Refused("area of nothing", URL | {"area": {"nside": 8, "pixel": 0, "pixels": 0}}, "area.pixels"),
    Refused("area on no grid", URL | {"area": {"nside": 9, "pixel": 0, "pixels": 1}}, "area.nside"),
    Refused(
        "area larger than the sky",
        levels((1, 0)) | {"area": {"nside": 8, "pixel": 0, "pixels": 13}},
        "area",
        "area: wants more pixels than the sky has in the first level",
    ),
    Refused("pixel outside", levels((1, 0)) | {"pixels": [0, 12]}, "pixels", PIXELS),
    Refused("negative pixel", levels((1, 0)) | {"pixels": [-1]}, "pixels[0]"),
    Refused("no pixels", URL | {"pixels": []}, "pixels"),
    Refused("too many pixels", levels((64, 0)) | {"pixels": [0] * 4097}, "pixels"),
    Refused("no seed", URL | {"seeds": 0}, "seeds"),
    Refused("no first seed", URL | {"firstSeeds": 0}, "firstSeeds"),
    Refused("more first seeds than seeds", URL | {"seeds": 3, "firstSeeds": 4}, "firstSeeds", "firstSeeds: there are"),
    Refused("too few re-simulations", URL | {"calibrate": 59}, "calibrate", "calibrate: fewer than 60"),
    Refused("too many re-simulations", URL | {"calibrate": 1001}, "calibrate"),
    Refused("eighth seed", URL | {"seeds": 8}, "seeds"),
    Refused("predictive", URL | {"predictive": 0}, "predictive"),
    Refused("reconstruction's name", URL | {"reconstruction": {"name": "a b"}}, "reconstruction.name"),
    Refused("task time", URL | {"reconstruction": {"maxTaskSeconds": 0.5}}, "reconstruction.maxTaskSeconds"),
    Refused(
        "too many parameters",
        URL | {"reconstruction": {"parameters": {f"p{number}": 1 for number in range(65)}}},
        "reconstruction.parameters",
    ),
    *(
        Refused(
            f"parameter {name}", URL | {"reconstruction": {"parameters": {"a": value}}}, "reconstruction.parameters.a"
        )
        for name, value in {
            "list": [1],
            "object": {"b": 1},
            "nested": json.loads("[" * 400 + "1" + "]" * 400),
            "long": "x" * 1025,
        }.items()
    ),
    Refused("min above max", URL | {"workers": {"min": 5, "max": 4}}, "workers.min", "min must not be more than max"),
    Refused(
        "min above the default of max", URL | {"workers": {"min": 101}}, "workers.min", "min must not be more than max"
    ),
    Refused("no workers at most", URL | {"workers": {"max": 0}}, "workers.max"),
    *(
        Refused(f"worker pods: {one.name}", pod(**one.fields), f"workers.podTemplate.{one.field}", one.message)
        for one in pods.INVALID
    ),
    *(
        Refused(f"all pods: {one.name}", URL | {"podTemplate": one.fields}, f"podTemplate.{one.field}", one.message)
        for one in pods.INVALID
    ),
    *(
        Refused(
            f"resources: {one.name}",
            resources(one.fields),
            f"workers.resources.{one.field}".removesuffix("."),
            one.message,
        )
        for one in pods.INVALID_RESOURCES
    ),
    *(
        Refused(f"claim of size {size}", URL | {"output": {"claim": {"size": size}}}, "output.claim.size", SIZE)
        for size in (0, "0", "0.0Gi", "0m")
    ),
    Refused("key of another folder", event(configMap={"name": "a", "key": ".."}), "event.configMap.key"),
    Refused("named and new claim", URL | {"output": {"claim": {"name": "a", "size": "1Gi"}}}, "output.claim", CLAIM),
    Refused(
        "named claim of a class",
        URL | {"output": {"claim": {"name": "a", "storageClassName": "b"}}},
        "output.claim",
        CLAIM,
    ),
    Refused("results out of the claim", URL | {"output": {"path": ".."}}, "output.path", INSIDE),
    Refused("format", URL | {"output": {"formats": ["jpeg"]}}, "output.formats[0]"),
    Refused("compression", URL | {"output": {"compression": "rar"}}, "output.compression"),
    Refused("broker of another kind", URL | {"pulsar": {"serviceUrl": "kafka://a:1"}}, "pulsar.serviceUrl", BROKER),
    Refused("broker with token", URL | {"pulsar": {"serviceUrl": "pulsar://t:x@a:6650"}}, "pulsar.serviceUrl", BROKER),
    Refused("admin interface", URL | {"pulsar": {"adminUrl": "pulsar://a:6650"}}, "pulsar.adminUrl", ADMIN),
    Refused("tenant", URL | {"pulsar": {"tenant": "a/b"}}, "pulsar.tenant"),
    Refused("deadline", URL | {"activeDeadlineSeconds": 0}, "activeDeadlineSeconds"),
    Refused("time to live", URL | {"ttlSecondsAfterFinished": {"failed": -1}}, "ttlSecondsAfterFinished.failed"),
    Refused("cleanup of topics", URL | {"cleanupPolicy": {"topics": "Sometimes"}}, "cleanupPolicy.topics"),
    Refused("cleanup of pods", URL | {"cleanupPolicy": {"pods": "Never"}}, "cleanupPolicy.pods"),
    Refused("attempts", URL | {"retries": {"taskAttempts": 0}}, "retries.taskAttempts"),
    Refused("priority", URL | {"priority": "High"}, "priority"),
    Refused("unknown field", URL | {"colour": "blue"}, "colour"),
    Refused("unknown field inside", URL | {"workers": {"maximum": 3}}, "workers.maximum"),
]
