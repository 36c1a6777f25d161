"""The operator's settings."""

from __future__ import annotations

import pytest

from skymap_api.resource.status import RunsWith
from skymap_operator.reference import settings_page
from skymap_operator.settings import PREFIX, Settings, SettingsError, read_settings

NEEDED = {
    "SKYMAP_OPERATOR_IMAGE": "registry.example/scanner:1",
    "SKYMAP_OPERATOR_PULSAR_SERVICE_URL": "pulsar://pulsar:6650",
    "SKYMAP_OPERATOR_PULSAR_ADMIN_URL": "http://pulsar:8080",
}


def test_settings_are_read_from_the_environment() -> None:
    given = {
        "SKYMAP_OPERATOR_MAX_WORKERS": "50",
        "SKYMAP_OPERATOR_NAMESPACES": '["alerts", "tests"]',
        "SKYMAP_OPERATOR_WORKER_RESOURCES": '{"limits": {"memory": "3Gi"}}',
        "SKYMAP_OPERATOR_STARTUP_SECONDS": "12.5",
        "SKYMAP_OPERATOR_CLAIM_STORAGE_CLASS": "",
        "HOME": "/root",
    }
    read = read_settings(NEEDED | given)
    assert (read.image, read.max_workers, read.namespaces) == ("registry.example/scanner:1", 50, ("alerts", "tests"))
    assert read.worker_resources.limits == {"memory": "3Gi"}
    assert (read.startup_seconds, read.claim_storage_class) == (12.5, None)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"SKYMAP_OPERATOR_IMAGE": ""}, "SKYMAP_OPERATOR_IMAGE: Field required"),
        ({"SKYMAP_OPERATOR_MAX_WORKER": "5"}, "SKYMAP_OPERATOR_MAX_WORKER: Extra inputs"),
        ({"SKYMAP_OPERATOR_MAX_WORKERS": "many"}, "SKYMAP_OPERATOR_MAX_WORKERS: Input should be a valid integer"),
        ({"SKYMAP_OPERATOR_PULSAR_KEY_FILE": "/key"}, "SKYMAP_OPERATOR_PULSAR_KEY_FILE needs"),
        (
            {
                "SKYMAP_OPERATOR_PULSAR_SIGNING_KEY_FILE": "/key",
                "SKYMAP_OPERATOR_PULSAR_TOKEN_SECRET": "token",
                "SKYMAP_OPERATOR_PULSAR_ROLE": "scans",
            },
            "own: leave out SKYMAP_OPERATOR_PULSAR_TOKEN_SECRET and SKYMAP_OPERATOR_PULSAR_ROLE",
        ),
        ({"SKYMAP_OPERATOR_PULSAR_TOKEN_SECONDS": "59"}, "SKYMAP_OPERATOR_PULSAR_TOKEN_SECONDS: Input should be"),
        ({"SKYMAP_OPERATOR_EVENT_ADDRESSES": '["10.0.0.1/8"]'}, "SKYMAP_OPERATOR_EVENT_ADDRESSES: 10.0.0.1/8 has host"),
        (
            {"SKYMAP_OPERATOR_EVENT_ADDRESSES": '["all"]'},
            "SKYMAP_OPERATOR_EVENT_ADDRESSES: 'all' does not appear to be",
        ),
        ({"SKYMAP_OPERATOR_EVENT_ADDRESSES": "[]"}, "SKYMAP_OPERATOR_EVENT_ADDRESSES: Tuple should have at least 1"),
        (
            {"SKYMAP_OPERATOR_POD_TEMPLATE": '{"tolerations": [{"key": "a", "effect": "No"}]}'},
            "SKYMAP_OPERATOR_POD_TEMPLATE: tolerations.0.effect: Input should be 'NoSchedule'",
        ),
        (
            {"SKYMAP_OPERATOR_POD_TEMPLATE": '{"labels": {"job-name": "x"}}'},
            "SKYMAP_OPERATOR_POD_TEMPLATE: labels: Kubernetes itself sets",
        ),
        (
            {"SKYMAP_OPERATOR_NAMESPACE_POD_TEMPLATES": '{"alerts": {"nodeSelectors": {}}}'},
            "SKYMAP_OPERATOR_NAMESPACE_POD_TEMPLATES: alerts.nodeSelectors: Extra inputs",
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_IN_PODS": '{"userIds": ["1000-"]}'},
            "SKYMAP_OPERATOR_ALLOWED_IN_PODS: userIds.0: String should match",
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_IN_PODS": '{"groupIds": ["1599-1500"]}'},
            "SKYMAP_OPERATOR_ALLOWED_IN_PODS: groupIds.0: 1599-1500: a range begins with its lowest id",
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_IN_PODS": '{"labels": ["!istio.io/*", "!a"]}'},
            'IN_PODS: labels: only exclusions allow nothing: write ["*", "!istio.io/*", "!a"]',
        ),
        (
            {"SKYMAP_OPERATOR_REALTIME_NAMESPACES": '["!tenant"]'},
            'SKYMAP_OPERATOR_REALTIME_NAMESPACES: only exclusions allow nothing: write ["*", "!tenant"]',
        ),
        (
            {"SKYMAP_OPERATOR_EVENT_ADDRESSES": '["!10.0.0.0/8"]'},
            'SKYMAP_OPERATOR_EVENT_ADDRESSES: only exclusions allow nothing: write ["public", "!10.0.0.0/8"]',
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_PULSARS": '[{"adminUrl": "http://a:8080"}]'},
            "SKYMAP_OPERATOR_ALLOWED_PULSARS: serviceUrl and adminUrl go together",
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_PULSARS": '[{"serviceUrl": "pulsar://a:6650", "adminUrl": "http://u:p@a"}]'},
            "SKYMAP_OPERATOR_ALLOWED_PULSARS: 0.adminUrl: String should match",
        ),
        (
            {"SKYMAP_OPERATOR_ALLOWED_PULSARS": '[{"tenants": ["!a"]}]'},
            'SKYMAP_OPERATOR_ALLOWED_PULSARS: 0.tenants: only exclusions allow nothing: write ["*", "!a"]',
        ),
        (
            {"SKYMAP_OPERATOR_NOTICES": '[{"name": "a", "to": "webhook=https://a.org/?token=1"}]'},
            "SKYMAP_OPERATOR_NOTICES: 0.to: String should match",
        ),
        *(
            (
                {"SKYMAP_OPERATOR_NOTICES": f'[{{"name": "a", "to": "webhook=https://a.org:{port}/"}}]'},
                f"SKYMAP_OPERATOR_NOTICES: 0.to: webhook=https://a.org:{port}/ has an impossible host or port",
            )
            for port in ("99999", "0", "x")
        ),
        (
            {"SKYMAP_OPERATOR_NOTICES": '[{"name": "a", "to": "slack"}, {"name": "a", "to": "gcn"}]'},
            "SKYMAP_OPERATOR_NOTICES: a is the name of two destinations",
        ),
        (
            {"SKYMAP_OPERATOR_NOTICES": '[{"name": "a", "to": "slack", "namespaces": ["!b"]}]'},
            'SKYMAP_OPERATOR_NOTICES: 0.namespaces: only exclusions allow nothing: write ["*", "!b"]',
        ),
        (
            {"SKYMAP_OPERATOR_PULSAR_PAGE_ROLE": "scans", "SKYMAP_OPERATOR_PULSAR_ROLE": "scans"},
            "SKYMAP_OPERATOR_PULSAR_PAGE_ROLE and SKYMAP_OPERATOR_PULSAR_ROLE must differ: both are scans",
        ),
        (
            {"SKYMAP_OPERATOR_PULSAR_PAGE_ROLE": "skymap-operator"},
            "PULSAR_PAGE_ROLE and SKYMAP_OPERATOR_PULSAR_OPERATOR_ROLE must differ: both are skymap-operator",
        ),
        ({"SKYMAP_OPERATOR_NAMESPACES": "[alerts"}, "SKYMAP_OPERATOR_NAMESPACES: Input should be a valid tuple"),
    ],
)
def test_invalid_variable_is_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(NEEDED | given)
    assert named in str(caught.value)


def test_every_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", ["CLAIM_SIZE", "ROLE_MEMORY_MAX"])
def test_quantity_is_documented_as_one(name: str) -> None:
    """YAML may read it as an integer, but most are not."""
    part = settings_page().partition(f"## SKYMAP_OPERATOR_{name}\n")[2]
    assert part.partition("- Type: ")[2].startswith("quantity\n")


@pytest.mark.parametrize("name", ["image", "pulsar_service_url", "pulsar_admin_url"])
def test_settings_fit_into_the_status_of_a_scan(name: str) -> None:
    """The status keeps what a scan runs with. Longer settings would end the reconciliation of every scan."""
    (longest,) = (one.max_length for one in RunsWith.model_fields[name.removeprefix("pulsar_")].metadata)
    variable = f"{PREFIX}{name.upper()}"
    assert read_settings(NEEDED | {variable: "x" * longest})
    with pytest.raises(SettingsError, match=f"{variable}: String should have at most {longest}"):
        read_settings(NEEDED | {variable: "x" * (longest + 1)})
