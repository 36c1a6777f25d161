"""The Pulsar that a scan uses, whether it is allowed, and the credentials for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.recipes import URL, scan
from tests.unit.operator.world import NAMESPACE, SETTINGS

from skymap_api.resource.status import RunsWith, SkymapScanStatus
from skymap_operator.pulsar.access import PulsarAccess, named_endpoint, pulsar_access, refusal, runs_with
from skymap_operator.settings import AllowedPulsar
from skymap_operator.version import VERSION

THEIRS = {"serviceUrl": "pulsar://theirs:6650", "adminUrl": "http://theirs:8080"}
OURS = {"pulsar_token_secret": "ours", "pulsar_tls_secret": "certificates"}
ENTRY = THEIRS | {"tenants": ["physics"], "secrets": ["physics-*"], "namespaces": [NAMESPACE]}


def access_of(pulsar: dict[str, Any] | None, *allowed: dict[str, Any], runs: RunsWith | None = None) -> PulsarAccess:
    listed = tuple(AllowedPulsar.model_validate(one) for one in allowed)
    settings = SETTINGS.model_copy(update=OURS | {"allowed_pulsars": listed})
    spec = scan(URL | ({} if pulsar is None else {"pulsar": pulsar})).spec
    return pulsar_access(NAMESPACE, spec, SkymapScanStatus(runs_with=runs), settings)


def test_running_scan_keeps_its_image_and_pulsar() -> None:
    began = RunsWith(
        image="old:1", operator="0.0.9", service_url="pulsar://old:6650", admin_url="http://old:8080", tenant="past"
    )
    assert runs_with(None, SkymapScanStatus(runs_with=began), SETTINGS) == began
    given = {"serviceUrl": "pulsar://mine:6650", "tenant": "own"}
    assert runs_with(scan(URL | {"pulsar": given}).spec, SkymapScanStatus(), SETTINGS) == RunsWith(
        image="registry.example/scanner:1",
        operator=VERSION,
        service_url="pulsar://mine:6650",
        admin_url="http://pulsar:8080",
        tenant="own",
    )


def test_operator_credentials_are_only_for_its_own_pulsar() -> None:
    found = access_of(None)
    assert (found.own, found.token and found.token.name, found.tls_secret) == (True, "ours", "certificates")
    for theirs in (THEIRS, {"adminUrl": "http://theirs:8080"}, {"serviceUrl": "pulsar://theirs:6650"}):
        found = access_of(theirs, ENTRY)
        assert (found.own, found.token, found.tls_secret) == (False, None, None)
    found = access_of({"tokenSecret": {"name": "mine"}}, {"secrets": ["mine"]})
    assert (found.own, found.token and found.token.name, found.refused) == (True, "mine", ())


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (None, ()),
        ({}, ()),
        ({"tenant": "icecube"}, ()),
        ({"serviceUrl": "pulsar://pulsar:6650", "adminUrl": "http://pulsar:8080"}, ()),
        ({"tokenSecret": {"name": "ours"}, "tlsSecret": {"name": "certificates"}}, ()),
        (THEIRS, ("pulsar.serviceUrl (pulsar://theirs:6650)", "pulsar.adminUrl (http://theirs:8080)")),
        ({"adminUrl": "http://169.254.169.254"}, ("pulsar.adminUrl (http://169.254.169.254)",)),
        ({"serviceUrl": "pulsar://10.0.0.1:6650"}, ("pulsar.serviceUrl (pulsar://10.0.0.1:6650)",)),
        ({"tenant": "others"}, ("pulsar.tenant (others)",)),
        ({"tokenSecret": {"name": "database"}}, ("pulsar.tokenSecret (database)",)),
        ({"tlsSecret": {"name": "ingress"}}, ("pulsar.tlsSecret (ingress)",)),
        (
            {"adminUrl": "http://a", "tenant": "others"},
            ("pulsar.adminUrl (http://a)", "pulsar.tenant (others)"),
        ),
    ],
)
def test_nothing_of_a_scans_own_is_allowed_by_default(given: dict[str, Any] | None, refused: tuple[str, ...]) -> None:
    assert access_of(given).refused == refused


@pytest.mark.parametrize(
    ("given", "listed", "refused"),
    [
        (THEIRS, ENTRY, ()),
        (THEIRS | {"tenant": "physics", "tokenSecret": {"name": "physics-jwt"}}, ENTRY, ()),
        (THEIRS | {"tenant": "astro"}, ENTRY, ("pulsar.tenant (astro)",)),
        (THEIRS | {"tlsSecret": {"name": "jwt"}}, ENTRY, ("pulsar.tlsSecret (jwt)",)),
        # The operator's own Secrets are for its own Pulsar.
        (THEIRS | {"tokenSecret": {"name": "ours"}}, ENTRY, ("pulsar.tokenSecret (ours)",)),
        # The two URLs go together, exactly as they are listed.
        ({"adminUrl": THEIRS["adminUrl"]}, ENTRY, ("pulsar.adminUrl (http://theirs:8080)",)),
        (THEIRS | {"adminUrl": "http://theirs:8080/other"}, ENTRY, None),
        (THEIRS, ENTRY | {"namespaces": ["other"]}, None),
        (THEIRS, ENTRY | {"namespaces": ["*", f"!{NAMESPACE}"]}, None),
        # An entry without URLs is about the operator's Pulsar, one with URLs about no other.
        ({"tenant": "physics"}, ENTRY, ("pulsar.tenant (physics)",)),
        ({"tenant": "physics"}, {"tenants": ["phys*"]}, ()),
        ({"tenant": "physics"}, {"tenants": ["*", "!physics"]}, ("pulsar.tenant (physics)",)),
        (THEIRS, {"tenants": ["*"], "secrets": ["*"]}, None),
    ],
)
def test_listed_pulsars_are_allowed(
    given: dict[str, Any], listed: dict[str, Any], refused: tuple[str, ...] | None
) -> None:
    found = access_of(given, listed).refused
    assert found == refused if refused is not None else found[0].startswith("pulsar.serviceUrl")


def test_one_entry_must_allow_everything() -> None:
    tenant, secret = ENTRY | {"secrets": []}, ENTRY | {"tenants": []}
    given = THEIRS | {"tenant": "physics", "tokenSecret": {"name": "physics-jwt"}}
    assert access_of(given, tenant, secret).refused == ("pulsar.tokenSecret (physics-jwt)",)
    assert access_of(given, tenant, secret, ENTRY).refused == ()


def test_addresses_are_those_of_the_entry() -> None:
    assert access_of(THEIRS, ENTRY).addresses == ("public",)
    assert access_of(THEIRS, ENTRY | {"addresses": ["10.1.0.0/16"]}).addresses == ("10.1.0.0/16",)


def test_withdrawn_pulsar_is_refused_to_a_running_scan() -> None:
    """Whoever may write a status could name a Pulsar there, too."""
    runs = RunsWith.model_validate({"image": "a:1", "operator": VERSION, "tenant": "physics"} | THEIRS)
    assert access_of(THEIRS | {"tenant": "physics"}, ENTRY, runs=runs).refused == ()
    assert access_of(None, runs=runs).refused == (
        "pulsar.serviceUrl (pulsar://theirs:6650)",
        "pulsar.adminUrl (http://theirs:8080)",
    )


def test_refusal_says_what_to_do() -> None:
    assert refusal(access_of({"tenant": "others"}).refused) == (
        "the administrator does not allow pulsar.tenant (others) - leave it out, or ask the administrator for it "
        "(settings.allowedPulsars of the chart)"
    )


@pytest.mark.parametrize(
    ("spec", "status", "found"),
    [
        ({}, {}, None),
        ({"pulsar": {"tenant": "own"}}, {}, None),
        ({"pulsar": {"adminUrl": SETTINGS.pulsar_admin_url}}, {}, None),
        ({"pulsar": {"adminUrl": "http://Theirs:8080/"}}, {}, "theirs:8080"),
        ({"pulsar": {"adminUrl": "https://theirs,others"}}, {}, "theirs:443"),
        ({"pulsar": {"adminUrl": "nonsense"}}, {}, "nonsense"),
        ({"pulsar": {"serviceUrl": "pulsar://theirs:6650"}}, {}, "pulsar:8080"),
        ({"pulsar": THEIRS}, {"runsWith": {"adminUrl": "http://began:1", "serviceUrl": "pulsar://began:2"}}, "began:1"),
        (None, None, None),
    ],
)
def test_endpoint_of_a_named_pulsar_is_found(spec: object, status: object, found: str | None) -> None:
    assert named_endpoint({"spec": spec, "status": status}, SETTINGS) == found
    assert named_endpoint(None, SETTINGS) is None
