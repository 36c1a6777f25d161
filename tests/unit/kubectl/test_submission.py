from __future__ import annotations

import base64
import os
from typing import Any

import pytest
import zstandard
from testing.manifests import cases

from skymap_api.resource import SkymapScanSpec
from skymap_scanner.errors import InputError
from skymap_scanner.kubectl.submission import (
    MAX_CONFIG_MAP,
    differences,
    event_config_map,
    event_of_config_map,
    label,
    name_of_url,
    scan_manifest,
    set_field,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("run00138632.evt000031747601.neutrino", "run00138632-evt000031747601-neutrino"),
        ("__Ünï--Code__", "n-code"),
        ("x" * 46 + "--y", "x" * 46),
        ("...", ""),
    ],
)
def test_names_are_labels(text: str, name: str) -> None:
    assert label(text) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/events/138632-31747601.json", "138632-31747601"),
        ("https://example.org/Alert_7.i3.ZST?signature=abc#x", "alert-7"),
        ("https://example.org/json", "json"),
    ],
)
def test_a_url_names_its_scan(url: str, name: str) -> None:
    assert name_of_url(url) == name


@pytest.mark.parametrize("url", ["https://example.org", "https://example.org/", "https://example.org/.json"])
def test_a_url_without_a_name_asks_for_one(url: str) -> None:
    with pytest.raises(InputError, match="give one with --name"):
        name_of_url(url)


def test_a_file_travels_as_it_is() -> None:
    made = event_config_map("alert", "my event.json", b"{}")
    assert made["binaryData"] == {"my-event.json": base64.b64encode(b"{}").decode()}
    name = made["metadata"]["name"]
    assert event_of_config_map(made) == {"configMap": {"name": name, "key": "my-event.json"}}
    assert name.startswith("alert-event-")
    assert event_config_map("alert", "my event.json", b"{ }")["metadata"]["name"] != name, "another event"
    assert len(event_config_map("x" * 253, "e", b"")["metadata"]["name"]) < 100
    # What both sides agree on: this event is read there.
    scan_manifest("alert", event_of_config_map(made))


def test_a_large_file_is_compressed_and_one_that_is_too_large_refused() -> None:
    large = b"0123456789" * 200_000
    made = event_config_map("alert", "event.json", large)
    (key,) = made["binaryData"]
    assert key == "event.json.zst"
    assert zstandard.ZstdDecompressor().decompress(base64.b64decode(made["binaryData"][key])) == large
    edge = os.urandom(MAX_CONFIG_MAP)
    assert list(event_config_map("alert", "e", edge)["binaryData"]) == ["e"]
    with pytest.raises(InputError, match=r"event.json has 1048577 bytes, .*give a URL .*persistentVolumeClaim"):
        event_config_map("alert", "event.json", edge + b"x")


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        (["workers.max=5"], {"workers": {"max": 5}}),
        (["spec.workers.max=5", "workers.min=1"], {"workers": {"max": 5, "min": 1}}),
        (["reconstruction.name=dummy"], {"reconstruction": {"name": "dummy"}}),
        (['output.formats=["json"]'], {"output": {"formats": ["json"]}}),
        (["suspend=true"], {"suspend": True}),
        (["event.select=1/2"], {"event": {"select": "1/2"}}),
        (["a.b="], {"a": {"b": ""}}),
        (["a=x=y"], {"a": "x=y"}),
    ],
)
def test_fields_are_set(changes: list[str], spec: dict[str, Any]) -> None:
    made: dict[str, Any] = {}
    for change in changes:
        set_field(made, change)
    assert made == spec


@pytest.mark.parametrize("change", ["workers.max", "=1", "a..b=1", "spec.=1"])
def test_what_is_no_change_is_refused(change: str) -> None:
    with pytest.raises(InputError, match="is not PATH=VALUE"):
        set_field({}, change)
    with pytest.raises(InputError, match="name has no fields"):
        set_field({"reconstruction": {"name": "x"}}, "reconstruction.name.y=1")


def test_a_manifest_is_checked_as_the_api_server_does() -> None:
    event = {"url": "https://example.org/e.json"}
    made = scan_manifest("alert", event, {"levels": [{"nside": 8}]}, ["workers.max=5"])
    assert made == cases.manifest({"event": event, "levels": [{"nside": 8}], "workers": {"max": 5}}, "alert")
    for sets, told in [
        (["workers.max=many"], r"spec.workers.max: Input should be a valid integer"),
        (["levels=[{}]"], r"spec\.levels\[0\]\.nside: Field required"),
        (["nonsense=1"], r"spec.nonsense: Extra inputs are not permitted"),
    ]:
        with pytest.raises(InputError, match=told):
            scan_manifest("alert", event, sets=sets)
    with pytest.raises(InputError, match="without user and password"):
        scan_manifest("alert", {"url": "https://me:secret@example.org/e.json"})


def stored(**spec: Any) -> SkymapScanSpec:
    """A spec as the API server keeps it: with its default of workers.max."""
    given = cases.URL | spec
    return SkymapScanSpec.model_validate(given | {"workers": {"max": 100} | given.get("workers", {})})


@pytest.mark.parametrize(
    ("wanted", "found", "different"),
    [
        ({}, {}, []),
        ({"seeds": 7}, {}, []),
        ({}, {"seeds": 7, "workers": {"max": 5}, "suspend": True}, []),
        ({"workers": {"max": 100}}, {}, []),
        ({"workers": {"max": 5}}, {}, ["workers.max"]),
        ({"workers": {"resources": {"requests": {"cpu": 1}}}}, {}, ["workers.resources.requests.cpu"]),
        ({"seeds": 3}, {}, ["seeds"]),
        ({}, {"seeds": 3}, ["seeds"]),
        ({}, {"area": {"nside": 1, "pixel": 1, "pixels": 3}}, ["area.nside", "area.pixel", "area.pixels"]),
        ({"levels": [{"nside": 4}]}, {"levels": [{"nside": 8}]}, ["levels"]),
        ({"event": {"url": "https://example.org/other"}}, {}, ["event.url"]),
        (
            {"event": {"simulate": {}}},
            {},
            ["event.simulate.energy", "event.simulate.seed", "event.simulate.topology", "event.url"],
        ),
        (
            {"reconstruction": {"parameters": {"a": 1}}},
            {},
            ["reconstruction.parameters", "reconstruction.parameters.a"],
        ),
    ],
)
def test_another_scan_is_told_from_the_same(
    wanted: dict[str, Any], found: dict[str, Any], different: list[str]
) -> None:
    given = SkymapScanSpec.model_validate(cases.URL | wanted)
    assert differences(given, stored(**found)) == different
