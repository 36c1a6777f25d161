"""Destinations as users give them, with addresses and secrets from the environment."""

from __future__ import annotations

import base64
import re

import pytest
from testing.pulsar.certificates import make_certificates
from tests.unit.notices.examples import make_notice
from tests.unit.notices.receiver import Receiver

from skymap_scanner.errors import InputError
from skymap_scanner.notices.channel import NotDelivered
from skymap_scanner.notices.destination import TRUSTED_VARIABLE, parse_destination
from skymap_scanner.notices.http_channel import HttpChannel
from skymap_scanner.notices.outbox import Outbox

ENVIRONMENT = {"SKYMAP_NOTIFY_SECRET": "correct horse battery staple"}


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("mail=x", {}, "is no destination"),
        ("webhook=", {}, "is no destination"),
        ("webhook", {}, "set SKYMAP_NOTIFY_WEBHOOK_URL"),
        ("webhook=http://example.org/", ENVIRONMENT, "must begin with https"),
        ("webhook=http://127.0.0.1.example.org/", ENVIRONMENT, "must begin with https"),
        ("webhook=ftp://127.0.0.1/", ENVIRONMENT, "must begin with https"),
        ("webhook=https://user:pass@example.org/", ENVIRONMENT, "user or password"),
        ("webhook=https://example.org/?token=x", ENVIRONMENT, "a query may hold a secret"),
        ("webhook=https://example.org/ x", ENVIRONMENT, "not a valid URL"),
        ("webhook=https://[::1/", ENVIRONMENT, "not a valid URL"),
        ("webhook=https://example.org:99999/", ENVIRONMENT, "not a valid URL"),
        ("webhook=https://example.org/", {}, "notices are signed"),
        ("webhook=https://example.org/", {"SKYMAP_NOTIFY_SECRET": "hidden"}, "24 bytes or more"),
        ("webhook=https://example.org/", {"SKYMAP_NOTIFY_SECRET": "whsec_!!"}, "not base64"),
        ("cloudevents", ENVIRONMENT, "SKYMAP_NOTIFY_CLOUDEVENTS_URL"),
        ("slack=https://hooks.slack.com/services/T/B/x", {}, "SKYMAP_NOTIFY_SLACK_URL"),
        ("slack", {"SKYMAP_NOTIFY_SLACK_URL": "http://hooks.slack.com/services/T/B/x"}, "must begin with https"),
        ("gcn=elsewhere", {}, "the topics of GCN"),
        ("gcn=gcn.notices.icecube.test\n", {}, "the topics of GCN"),
    ],
)
def test_invalid_destinations_are_rejected_without_their_secrets(text, environment, message):
    with pytest.raises(InputError, match=message) as failure:
        parse_destination(text, environment)
    assert not re.search("pass@|token=|services/T|hidden", str(failure.value))


def test_secrets_come_from_files_and_are_not_shown(tmp_path):
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(b"s" * 32).decode() + "\n")
    (tmp_path / "url").write_text("https://hooks.slack.com/services/T/B/xyz\n")
    found = parse_destination("webhook=https://x.org/", {"SKYMAP_NOTIFY_SECRET_FILE": str(tmp_path / "secret")})
    assert found.secret == b"s" * 32
    chat = parse_destination("slack", {"SKYMAP_NOTIFY_SLACK_URL_FILE": str(tmp_path / "url")})
    assert chat.address.endswith("xyz")
    assert chat.secret is None
    assert not re.search("sss|services", f"{found!r} {chat!r} {chat.label}")


def test_certificates_of_a_server_of_ones_own_are_trusted(tmp_path):
    certificates = make_certificates(tmp_path / "certificates")
    outbox = Outbox(tmp_path)
    outbox.add(make_notice(), {"webhook": "webhook"})
    with Receiver(certificates=certificates).running() as receiver:
        given = ENVIRONMENT | {"SKYMAP_NOTIFY_WEBHOOK_URL": receiver.url}
        with pytest.raises(NotDelivered, match="CERTIFICATE_VERIFY_FAILED"):
            HttpChannel(parse_destination("webhook", given)).send(outbox.entries[0], 10)
        given[TRUSTED_VARIABLE] = str(certificates.authority)
        HttpChannel(parse_destination("webhook", given)).send(outbox.entries[0], 10)
        assert len(receiver.received) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_missing_certificates_are_one_error(tmp_path, content):
    if content is not None:
        (tmp_path / "ca.crt").write_text(content)
    given = ENVIRONMENT | {TRUSTED_VARIABLE: str(tmp_path / "ca.crt")}
    with pytest.raises(InputError, match=f"^{TRUSTED_VARIABLE}: cannot use .*ca.crt: "):
        HttpChannel(parse_destination("webhook=https://a.org/", given))
