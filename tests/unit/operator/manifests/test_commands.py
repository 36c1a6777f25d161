"""The commands of a scan are recorded as its pods have them, and only what determines one changes it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.recipes import FULL, URL, Manifest, made
from tests.unit.operator.world import SETTINGS

from skymap_api.resource.base import to_manifest
from skymap_api.resource.status import RunsWith, SkymapScanStatus
from skymap_operator.manifests import commands, jobs, workers
from skymap_operator.manifests.commands import image_by_digest, keep_commands, record_commands, valid_image_id
from skymap_operator.manifests.pod import ADMIN_KEY, BROKER_KEY, TLS, TOKEN
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings

DIGEST = "sha256:" + "ab" * 32
SIMULATED = {"event": {"simulate": {"ra": 120.0, "dec": -5.0}}}
SECURE = SETTINGS.model_copy(update={"pulsar_token_secret": "token", "pulsar_tls_secret": "tls"})
KEYS = frozenset({"ca.crt", "tls.crt", "tls.key"})


def recorded(recipe: Recipe, operator: str = "0.1.0") -> RunsWith:
    """What a scan runs with, as it is read back from its status."""
    runs = runs_with(recipe.spec, SkymapScanStatus(), recipe.settings)
    status = SkymapScanStatus(runs_with=record_commands(recipe, runs, operator))
    wire = json.loads(json.dumps(to_manifest(status)))
    found = SkymapScanStatus.model_validate(wire).runs_with
    assert found is not None
    return found


def objects(recipe: Recipe) -> list[Manifest]:
    return [*jobs(recipe).values(), workers(recipe, 3)]


@pytest.mark.parametrize("spec", [URL, SIMULATED, FULL])
@pytest.mark.parametrize(("settings", "keys"), [(SETTINGS, frozenset[str]()), (SECURE, KEYS)])
def test_kept_commands_give_the_same_objects(spec: Manifest, settings: Settings, keys: frozenset[str]) -> None:
    recipe = made(spec, settings, keys)
    kept = keep_commands(recipe, recorded(recipe), access_known=True)
    assert len(kept.commands) == 4 + ("simulate" in spec["event"])
    assert objects(kept) == objects(recipe)
    assert record_commands(kept, recorded(recipe), "0.2.0") == recorded(recipe), "nothing is recorded anew"


def changed(recipe: Recipe, spec: Manifest, settings: Settings, keys: frozenset[str]) -> set[str]:
    """Return the containers whose recorded command no longer holds."""
    runs = recorded(recipe)
    kept = keep_commands(made(spec, settings, keys), runs, access_known=True)
    return {one.container for one in runs.commands} - set(kept.commands)


EVERYTHING = {"producer", "collector", "saver", "worker"}


@pytest.mark.parametrize(
    ("spec", "settings", "keys", "containers"),
    [
        ({"output": {"formats": ["json"]}}, {}, KEYS, {"saver"}),
        ({"output": {"path": "elsewhere"}}, {}, KEYS, {"saver"}),
        ({"output": {"compression": "xz"}}, {}, KEYS, {"saver"}),
        ({"output": {"claim": {"name": "other"}}}, {}, KEYS, set()),
        ({"retries": {"taskAttempts": 3}}, {}, KEYS, {"worker"}),
        ({"retries": {"roleRestarts": 3}}, {}, KEYS, set()),
        ({"workers": {"max": 3, "resources": {"limits": {"memory": "9Gi"}}}}, {}, KEYS, set()),
        ({"podTemplate": {"labels": {"a": "b"}}, "suspend": True}, {}, KEYS, set()),
        ({}, {"image": "registry.example/scanner:2"}, KEYS, set()),
        ({}, {"pulsar_token_secret": "another"}, KEYS, set()),
        ({}, {"pulsar_token_key": "jwt"}, KEYS, EVERYTHING),
        ({}, {}, KEYS - {"tls.key"}, EVERYTHING),
        ({}, {"event_addresses": ("any",)}, KEYS, {"producer"}),
    ],
)
def test_command_changes_only_with_what_determines_it(
    spec: Manifest, settings: dict[str, Any], keys: frozenset[str], containers: set[str]
) -> None:
    assert changed(made(URL, SECURE, KEYS), URL | spec, SECURE.model_copy(update=settings), keys) == containers


def test_tokens_of_their_own_change_every_command() -> None:
    signed = SETTINGS.model_copy(update={"pulsar_signing_key_file": "/key"})
    assert changed(made(URL), URL, signed, frozenset()) == EVERYTHING
    assert changed(made(URL, signed), URL, signed, frozenset()) == set()


def test_commands_are_kept_while_the_access_is_unknown() -> None:
    recipe = made(URL, SECURE, KEYS)
    kept = keep_commands(made(URL, SECURE), recorded(recipe), access_known=False)
    assert set(kept.commands) == EVERYTHING


@pytest.mark.parametrize("spec", [URL, SIMULATED])
def test_new_version_keeps_arguments_and_variables(spec: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = made(spec)
    runs, before = recorded(recipe), objects(recipe)
    for name in ("jobs", "workers"):
        module = import_module(f"skymap_operator.manifests.{name}")  # the package's own names are the functions
        monkeypatch.setattr(module, "scan_arguments", lambda *_, **__: ["--unknown"])
    new = replace(made(spec), operator="0.2.0")
    assert "--unknown" in json.dumps(objects(new))
    kept = objects(keep_commands(new, runs, access_known=True))
    assert [one["spec"]["template"] for one in kept] == [one["spec"]["template"] for one in before]
    written = keep_commands(made(spec | {"output": {"formats": ["json"]}}), runs, access_known=True)
    assert record_commands(written, runs, "0.2.0").operator == "0.2.0", "an older version must leave it alone now"


def test_places_that_recorded_commands_name_are_fixed() -> None:
    """A change here breaks the pods of scans that run during the upgrade: they keep the old paths and keys."""
    recipe = made(URL, SECURE, KEYS)
    paths = {
        (mount["name"], mount["mountPath"])
        for one in [*objects(recipe), *objects(made(FULL)), *objects(made(SIMULATED))]
        for container in one["spec"]["template"]["spec"]["containers"]
        for mount in container["volumeMounts"]
    }
    assert paths == {
        ("tmp", "/tmp"),  # noqa: S108
        ("state", "/state"),
        ("event", "/event"),
        ("event-credentials", "/credentials"),
        ("results", "/results"),
        ("pulsar-token", TOKEN),
        ("pulsar-tls", TLS),
    }
    assert (TOKEN, TLS, BROKER_KEY, ADMIN_KEY) == ("/pulsar/token", "/pulsar/tls", "broker", "admin-url")


@pytest.mark.parametrize(
    ("image", "image_id", "expected"),
    [
        ("registry.example/scanner:1", f"registry.example/scanner@{DIGEST}", f"registry.example/scanner@{DIGEST}"),
        ("registry.example:5000/a/b", f"registry.example:5000/a/b@{DIGEST}", f"registry.example:5000/a/b@{DIGEST}"),
        ("python:3.12", f"docker.io/library/python@{DIGEST}", f"python@{DIGEST}"),
        # A node may know the same content by the name of a mirror.
        ("registry.example/scanner:1", f"mirror.example/scanner@{DIGEST}", f"registry.example/scanner@{DIGEST}"),
        ("registry.example/scanner:1", DIGEST, None),
        ("registry.example/scanner:1", None, None),
        (f"registry.example/scanner@{DIGEST}", f"registry.example/scanner@{DIGEST}", None),
    ],
)
def test_image_is_named_by_the_digest_of_its_registry(image: str, image_id: str | None, expected: str | None) -> None:
    assert image_by_digest(recorded(made(URL)).model_copy(update={"image": image, "image_id": image_id})) == expected


def test_digest_replaces_the_name_in_all_containers() -> None:
    [producer, *_] = jobs(made(SIMULATED)).values()
    pinned = commands.with_image(producer, "a@b")
    pod = pinned["spec"]["template"]["spec"]
    assert {one["image"] for one in (*pod["initContainers"], *pod["containers"])} == {"a@b"}
    assert pinned["metadata"] == producer["metadata"]
    assert commands.with_image(producer, None) == producer


@given(st.text(max_size=80) | st.from_regex(r"[a-z./:]{0,9}@?sha256:[0-9a-f]{64}", fullmatch=True))
def test_only_digests_are_recorded(text: str) -> None:
    if valid_image_id(text):
        assert text.rpartition("@")[2].startswith("sha256:")
        assert not any(character.isspace() for character in text)
