"""What the saver of a scan with notices gets: options, files of one Secret, and nothing that is secret."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.unit.operator.recipes import URL, Manifest, made, pods
from tests.unit.operator.world import SETTINGS

from skymap_api.resource import SkymapScanStatus
from skymap_operator.manifests.commands import keep_commands, record_commands
from skymap_operator.manifests.jobs import jobs
from skymap_operator.manifests.labels import SETTINGS as SETTINGS_DIGEST
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import NOTICE, NoticeDestination, Settings
from skymap_scanner.errors import InputError
from skymap_scanner.notices.destination import TRUSTED_VARIABLE, parse_destination, parse_kind

DESTINATIONS = [
    {"name": "hook", "to": "webhook=https://a.org/hook", "namespaces": ["alerts"], "trustedKey": "ca.crt"},
    {"name": "hidden", "to": "cloudevents", "namespaces": ["*"]},
    {"name": "chat", "to": "slack", "namespaces": ["alert*"]},
    {"name": "gcn", "to": "gcn", "gcnDomain": "test.gcn.nasa.gov", "namespaces": ["*"]},
    {"name": "closed", "to": "gcn"},
    {"name": "theirs", "to": "slack", "namespaces": ["*", "!alerts"]},
]


def settings(*destinations: Manifest) -> Settings:
    found = tuple(NoticeDestination.model_validate(one) for one in destinations or DESTINATIONS)
    return SETTINGS.model_copy(update={"notices": found})


def asking(*names: str, **more: Any) -> Manifest:
    return URL | {"notices": {"to": names, "alertTense": "test", **more}}


def saver(*names: str, **more: Any) -> Manifest:
    return pods(made(asking(*names, **more), settings()))["saver"]


def environment(pod: Manifest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["containers"][0]["env"] if one["name"].startswith("SKYMAP_NOTIFY")}


def volume(pod: Manifest) -> Manifest:
    (found,) = (one for one in pod["volumes"] if one["name"] == "notices")
    return dict(found["secret"])


def test_saver_gets_options_and_files_of_the_secret() -> None:
    pod = saver("hook", "hidden", resultsUrl="https://a.org/maps")
    assert pod["containers"][0]["args"][-8:] == [
        *("--notify", "webhook=https://a.org/hook", "--notify", "cloudevents"),
        *("--alert-tense", "test", "--results-url", "https://a.org/maps"),
    ]
    folder = "/notices/skymap-notices"
    assert environment(pod) == {
        "SKYMAP_NOTIFY_SECRET_FILE": f"{folder}/signing-secret",
        "SKYMAP_NOTIFY_TRUSTED_FILE": f"{folder}/ca.crt",
        "SKYMAP_NOTIFY_CLOUDEVENTS_URL_FILE": f"{folder}/cloudevents-url",
    }
    items = [{"key": key, "path": key} for key in ("ca.crt", "cloudevents-url", "signing-secret")]
    assert volume(pod) == {"secretName": "skymap-notices", "optional": True, "items": items}
    assert {"name": "notices", "mountPath": folder, "readOnly": True} in pod["containers"][0]["volumeMounts"]


def test_gcn_gets_its_credentials_alone() -> None:
    pod = saver("gcn")
    assert [one["key"] for one in volume(pod)["items"]] == ["gcn-client-id", "gcn-client-secret"]
    assert {"name": "SKYMAP_GCN_DOMAIN", "value": "test.gcn.nasa.gov"} in pod["containers"][0]["env"]


@pytest.mark.parametrize("names", [(), ("closed",), ("theirs",), ("unknown",)])
def test_destinations_of_others_change_no_manifest(names: tuple[str, ...]) -> None:
    asked = asking(*names) if names else URL
    assert jobs(made(asked, settings())) == jobs(made(URL))


def test_only_the_saver_sees_the_secret() -> None:
    found = pods(made(asking("hook"), settings()))
    assert [role for role, pod in found.items() if "notices" in str(pod["volumes"])] == ["saver"]


def test_changed_destinations_run_the_saver_again() -> None:
    def digest(spec: Manifest, of: Settings) -> str:
        return str(jobs(made(spec, of))["saver"]["metadata"]["annotations"][SETTINGS_DIGEST])

    one = digest(asking("hook"), settings())
    others = [
        digest(URL, settings()),
        digest(asking("chat"), settings()),
        digest(URL | {"notices": {"to": ["hook"], "alertTense": "current"}}, settings()),
        digest(asking("hook"), settings({"name": "hook", "to": "webhook=https://b.org/", "namespaces": ["*"]})),
        digest(asking("hook"), settings().model_copy(update={"notices_secret": "other"})),
    ]
    assert len({one, *others}) == 6
    assert digest(URL, settings()) == digest(URL, SETTINGS), "scans of earlier versions go on"


def test_recorded_command_of_the_saver_follows_the_notices() -> None:
    recipe = made(asking("hook"), settings())
    runs = record_commands(recipe, runs_with(recipe.spec, SkymapScanStatus(), SETTINGS), "1.0")
    assert "saver" in keep_commands(made(asking("hook"), settings()), runs, access_known=True).commands
    kept = keep_commands(made(asking("chat"), settings()), runs, access_known=True).commands
    assert set(kept) == {"producer", "collector", "worker"}


@pytest.mark.parametrize("to", [one["to"] for one in DESTINATIONS] + ["webhook", "gcn=gcn.notices.icecube.test.x"])
def test_scanner_reads_what_the_operator_accepts(to: str) -> None:
    assert re.fullmatch(NOTICE, to)
    assert parse_kind(to).kind == to.partition("=")[0]
    (destination,) = settings({"name": "a", "to": to, "namespaces": ["*"]}).notices
    pod = pods(made(asking("a"), settings(destination.model_dump())))["saver"]
    # Each variable of the manifest is one that the scanner asks for: with all of them set, nothing is missing.
    given = {name.removesuffix("_FILE"): "https://a.org/" + 24 * "s" for name in environment(pod)}
    assert parse_destination(to, given).label == to


@pytest.mark.parametrize(
    "to", ["webhook=", "webhook=http://a.org/", "webhook=https://u:p@a.org/", "slack=https://a.org/", "gcn=x", "mail"]
)
def test_operator_refuses_what_the_scanner_refuses(to: str) -> None:
    assert not re.fullmatch(NOTICE, to)
    with pytest.raises(InputError):
        parse_destination(to, {"SKYMAP_NOTIFY_SECRET": 24 * "s"})


def test_trusted_variable_is_that_of_the_scanner() -> None:
    assert TRUSTED_VARIABLE in environment(saver("hook"))
