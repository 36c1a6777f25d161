from __future__ import annotations

import base64
import os
from typing import Any

import pytest
import zstandard
from testing.manifests import cases

from skymap_api.resource import SkymapScanSpec
from skymap_scanner.cli.submit import set_field
from skymap_scanner.errors import InputError
from skymap_scanner.kubectl.submission import (
    MAX_CONFIG_MAP,
    differences,
    event_config_map,
    event_of_config_map,
    label,
    name_of_url,
    scan_manifest,
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
def test_label_keeps_lower_case_letters_and_digits(text: str, name: str) -> None:
    assert label(text) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/events/138632-31747601.json", "138632-31747601"),
        ("https://example.org/Alert_7.i3.ZST?signature=abc#x", "alert-7"),
        ("https://example.org/json", "json"),
        ("https://example.org/events/run00136766-evt000007637140-GOLD.pkl", "run00136766-evt000007637140-gold"),
    ],
)
def test_scan_is_named_after_its_url(url: str, name: str) -> None:
    assert name_of_url(url) == name


@pytest.mark.parametrize("url", ["https://example.org", "https://example.org/", "https://example.org/.json"])
def test_url_without_file_name_needs_a_name(url: str) -> None:
    with pytest.raises(InputError, match="give one with --name"):
        name_of_url(url)


def test_small_file_is_sent_unchanged() -> None:
    made = event_config_map("alert", "my event.json", b"{}")
    assert made["binaryData"] == {"my-event.json": base64.b64encode(b"{}").decode()}
    name = made["metadata"]["name"]
    assert event_of_config_map(made) == {"configMap": {"name": name, "key": "my-event.json"}}
    assert name.startswith("alert-event-")
    assert event_config_map("alert", "my event.json", b"{ }")["metadata"]["name"] != name, "another event"
    assert len(event_config_map("x" * 253, "e", b"")["metadata"]["name"]) < 100
    scan_manifest("alert", {"event": event_of_config_map(made)})  # the models accept it


def test_large_file_is_compressed_and_too_large_one_rejected() -> None:
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
def test_set_changes_nested_fields(changes: list[str], spec: dict[str, Any]) -> None:
    made: dict[str, Any] = {}
    for change in changes:
        set_field(made, change)
    assert made == spec


@pytest.mark.parametrize("change", ["workers.max", "=1", "a..b=1", "spec.=1"])
def test_invalid_changes_are_rejected(change: str) -> None:
    with pytest.raises(InputError, match="is not PATH=VALUE"):
        set_field({}, change)
    with pytest.raises(InputError, match="name has no fields"):
        set_field({"reconstruction": {"name": "x"}}, "reconstruction.name.y=1")


def test_manifest_is_validated_as_the_api_server_does() -> None:
    event = {"url": "https://example.org/e.json"}
    spec = {"event": event, "levels": [{"nside": 8}], "workers": {"max": 5}}
    assert scan_manifest("alert", spec) == cases.manifest(spec, "alert")
    for field, message in [
        ({"workers": {"max": "many"}}, r"spec.workers.max: Input should be a valid integer"),
        ({"levels": [{}]}, r"spec\.levels\[0\]\.nside: Field required"),
        ({"nonsense": 1}, r"spec.nonsense: Extra inputs are not permitted"),
    ]:
        with pytest.raises(InputError, match=message):
            scan_manifest("alert", {"event": event} | field)
    with pytest.raises(InputError, match="without user and password"):
        scan_manifest("alert", {"event": {"url": "https://me:secret@example.org/e.json"}})


def stored(**spec: Any) -> SkymapScanSpec:
    """Return a spec as the API server stores it, with its default of workers.max."""
    given = cases.URL | spec
    return SkymapScanSpec.model_validate(given | {"workers": {"max": 100} | given.get("workers", {})})


@pytest.mark.parametrize(
    ("wanted", "found", "different"),
    [
        ({}, {}, []),
        ({"seeds": 3}, {}, []),
        ({}, {"seeds": 3, "workers": {"max": 5}, "suspend": True}, []),
        ({"workers": {"max": 100}}, {}, []),
        ({"workers": {"max": 5}}, {}, ["workers.max"]),
        ({"workers": {"resources": {"requests": {"cpu": 1}}}}, {}, ["workers.resources.requests.cpu"]),
        ({"seeds": 7}, {}, ["seeds"]),
        ({}, {"seeds": 7}, ["seeds"]),
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
def test_differences_to_an_existing_scan_are_found(
    wanted: dict[str, Any], found: dict[str, Any], different: list[str]
) -> None:
    given = SkymapScanSpec.model_validate(cases.URL | wanted)
    assert differences(given, stored(**found)) == different
