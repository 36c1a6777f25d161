"""The Pulsar that a scan uses, and the credentials for it."""

from __future__ import annotations

from tests.unit.operator.recipes import URL, scan
from tests.unit.operator.world import SETTINGS

from skymap_api.resource.status import RunsWith, SkymapScanStatus
from skymap_operator.pulsar.access import pulsar_access, runs_with


def test_running_scan_keeps_its_image_and_pulsar() -> None:
    began = RunsWith(image="old:1", service_url="pulsar://old:6650", admin_url="http://old:8080", tenant="past")
    assert runs_with(None, SkymapScanStatus(runs_with=began), SETTINGS) == began
    given = {"serviceUrl": "pulsar://mine:6650", "tenant": "own"}
    assert runs_with(scan(URL | {"pulsar": given}).spec, SkymapScanStatus(), SETTINGS) == RunsWith(
        image="registry.example/scanner:1",
        service_url="pulsar://mine:6650",
        admin_url="http://pulsar:8080",
        tenant="own",
    )


def test_operator_credentials_are_only_for_its_own_pulsar() -> None:
    settings = SETTINGS.model_copy(update={"pulsar_token_secret": "ours", "pulsar_tls_secret": "certificates"})
    access = pulsar_access(scan(URL).spec, SkymapScanStatus(), settings)
    assert (access.own, access.token and access.token.name, access.tls_secret) == (True, "ours", "certificates")
    access = pulsar_access(
        scan(URL | {"pulsar": {"adminUrl": "http://elsewhere:8080"}}).spec, SkymapScanStatus(), settings
    )
    assert (access.own, access.token, access.tls_secret) == (False, None, None)
    access = pulsar_access(scan(URL | {"pulsar": {"tokenSecret": {"name": "mine"}}}).spec, SkymapScanStatus(), settings)
    assert (access.own, access.token and access.token.name) == (True, "mine")
