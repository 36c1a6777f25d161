"""The definition of SkymapScan on a real API server, without an operator: what it accepts, rejects and shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from testing.cluster.cluster import Cluster, KubectlError, Namespace
from testing.manifests import cases, changes, rules

from skymap_api.crd import custom_resource_definition, resource_schema

SCHEMA = resource_schema()["properties"]["spec"]
VERSION = custom_resource_definition()["spec"]["versions"][0]

pytestmark = pytest.mark.usefixtures("definition")


class Scans:
    """The SkymapScans of one namespace, through the API server."""

    def __init__(self, api: httpx.Client, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/skymap.icecube.wisc.edu/v1alpha1/namespaces/{namespace}/skymapscans"

    def create(self, spec: cases.Spec, *, dry: bool = False) -> httpx.Response:
        """POST as kubectl does, so that unknown fields are rejected."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {})
        name = f"scan-{uuid4().hex[:12]}"
        return self._api.post(self._path, params=query, json=cases.manifest(spec, name))

    def replace(self, scan: dict[str, Any], spec: cases.Spec) -> httpx.Response:
        """PUT another spec as a dry run."""
        path = f"{self._path}/{scan['metadata']['name']}"
        query = {"fieldValidation": "Strict", "dryRun": "All"}
        return self._api.put(path, params=query, json=scan | {"spec": spec})

    def set_status(self, scan: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """PUT the status, as the operator does; return the scan."""
        answer = self._api.put(f"{self._path}/{scan['metadata']['name']}/status", json=scan | {"status": status})
        assert answer.status_code == httpx.codes.OK, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def scans(cluster: Cluster, api: httpx.Client) -> Iterator[Scans]:
    """One namespace for all cases, which leave nothing or objects of different names."""
    name = f"test-{uuid4().hex[:12]}"
    cluster.kubectl("create", "namespace", name)
    yield Scans(api, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def complaints(answer: httpx.Response) -> dict[str, str]:
    """Return the API server's errors, by field."""
    status = answer.json()
    if answer.status_code == httpx.codes.BAD_REQUEST:  # an unknown field is not among the causes
        return dict.fromkeys(re.findall(r'unknown field "([^"]*)"', status["message"]), "unknown field")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    return {cause["field"]: cause["message"] for cause in status["details"]["causes"]}


@pytest.mark.parametrize("case", cases.ACCEPTED, ids=lambda case: case.name)
def test_valid_scan_is_accepted(scans: Scans, case: cases.Accepted) -> None:
    answer = scans.create(case.spec, dry=True)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert answer.json()["spec"] == rules.with_defaults(case.spec, SCHEMA)


@pytest.mark.parametrize("case", cases.REFUSED, ids=lambda case: case.name)
def test_invalid_scan_is_rejected_with_a_reason(scans: Scans, case: cases.Refused) -> None:
    found = complaints(scans.create(case.spec, dry=True))
    assert f"spec.{case.field}" in found, found
    assert case.message in found[f"spec.{case.field}"]


@pytest.mark.parametrize("case", changes.CHANGES, ids=lambda case: case.name)
def test_only_mutable_fields_can_be_changed(scans: Scans, case: changes.Change) -> None:
    made = scans.create(case.old)
    assert made.status_code == httpx.codes.CREATED, made.text
    answer = scans.replace(made.json(), case.new)
    if case.field is None:
        assert answer.status_code == httpx.codes.OK, answer.text
    else:
        found = complaints(answer)
        assert found.keys() == {f"spec.{case.field}"}
        assert changes.UNCHANGED in found[f"spec.{case.field}"]


def test_output_cannot_be_changed_once_it_is_written(scans: Scans) -> None:
    made = scans.create(cases.URL).json()
    elsewhere = cases.URL | {"output": {"path": "elsewhere"}}
    assert scans.replace(made, elsewhere).status_code == httpx.codes.OK
    written = scans.set_status(made, {"outputs": {"claim": "a-results", "path": "a", "files": ["a.json"]}})
    assert complaints(scans.replace(written, elsewhere)).keys() == {"spec.output"}
    assert scans.replace(written, cases.URL | {"suspend": True}).status_code == httpx.codes.OK


def words(text: str) -> str:
    """Join the lines."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    "path", ["", ".event", ".event.simulate", ".workers", ".workers.podTemplate", ".podTemplate", ".output"]
)
def test_kubectl_explains_every_field(cluster: Cluster, path: str) -> None:
    properties = SCHEMA["properties"]
    for name in path.split(".")[1:]:
        properties = properties[name]["properties"]
    explained = words(cluster.kubectl("explain", f"sms.spec{path}"))
    for name, field in properties.items():
        assert re.search(rf" {name} <", explained), name
        assert words(field["description"]) in explained


STATUS = {
    "phase": "Scanning",
    "level": 64,
    "progress": "1234/5678",
    "backlog": 40,
    "best": {"nside": 64, "pixel": 5, "llh": 1234.5, "ra": 200.5, "dec": -20.25, "area90": 1.75},
    "workers": {"ready": 12, "busy": 11, "desired": 30, "selector": "app.kubernetes.io/component=worker"},
    "conditions": [
        {
            "type": "Degraded",
            "status": "True",
            "reason": "PulsarUnavailable",
            "message": "Pulsar does not answer.",
            "lastTransitionTime": "2024-05-06T07:08:09Z",
        }
    ],
}
SHOWN = {
    "Phase": "Scanning",
    "Level": "64",
    "Done": "1234/5678",
    "RA": "200.5",
    "Dec": "-20.25",
    "Area90": "1.75",
    "Workers": "12",
    "Busy": "11",
    "Desired": "30",
    "Backlog": "40",
    "Degraded": "PulsarUnavailable",
}


def table(printed: str) -> dict[str, str]:
    """Parse a table of kubectl with one row; columns are aligned and may be empty."""
    header, row = printed.splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    ends = [*starts[1:], None]
    return {header[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


@pytest.fixture
def scan(namespace: Namespace) -> Namespace:
    """A namespace with the scan ``alert``, which has a status."""
    namespace.apply(cases.manifest(cases.URL))
    words = ["patch", "sms", "alert", "--subresource", "status", "--type", "merge", "-p"]
    namespace.kubectl(*words, json.dumps({"status": STATUS}))
    return namespace


@pytest.mark.parametrize("wide", [False, True])
def test_kubectl_get_shows_the_columns(scan: Namespace, wide: bool) -> None:
    row = table(scan.kubectl("get", "sms", *(["-o", "wide"] if wide else [])))
    columns = [one["name"] for one in VERSION["additionalPrinterColumns"] if wide or not one.get("priority")]
    assert list(row) == ["NAME", *(name.upper() for name in columns)]
    assert row["NAME"] == "alert"
    assert re.fullmatch(r"\d+s", row["AGE"])
    shown = {name: row[name.upper()] for name in columns if name in SHOWN}
    assert shown == {name: value for name, value in SHOWN.items() if name in columns}


def test_resource_is_found_by_its_short_names(scan: Namespace) -> None:
    for name in ("sms", "skymapscan", "skymapscans", "skymapscans.skymap.icecube.wisc.edu"):
        assert scan.kubectl("get", name, "-o", "name").split() == ["skymapscan.skymap.icecube.wisc.edu/alert"]
    assert "skymapscan.skymap.icecube.wisc.edu/alert" in scan.kubectl("get", "all", "-o", "name").split()


def test_status_is_a_subresource(scan: Namespace) -> None:
    before = scan.get("sms", "alert")
    assert before["status"]["best"] == STATUS["best"]
    scan.kubectl("patch", "sms", "alert", "--type", "merge", "-p", '{"status": {"phase": "Failed"}}')
    words = ["patch", "sms", "alert", "--subresource", "status", "--type", "merge", "-p"]
    scan.kubectl(*words, '{"spec": {"suspend": true}}')
    after = scan.get("sms", "alert")
    assert (after["status"]["phase"], after["spec"]["suspend"]) == ("Scanning", False)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    with pytest.raises(KubectlError, match=r"status\.phase"):
        scan.kubectl(*words, '{"status": {"phase": "Sleeping"}}')


def test_kubectl_scale_sets_the_maximum_of_workers(scan: Namespace) -> None:
    scan.kubectl("scale", "sms/alert", "--replicas", "7")
    assert scan.get("sms", "alert")["spec"]["workers"]["max"] == 7
    scale = scan.get("sms", "alert", "--subresource", "scale")
    assert scale["spec"] == {"replicas": 7}
    assert scale["status"] == {"replicas": 12, "selector": "app.kubernetes.io/component=worker"}
    with pytest.raises(KubectlError, match=r"spec\.workers\.max"):
        scan.kubectl("scale", "sms/alert", "--replicas", "0")
