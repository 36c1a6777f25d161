"""The environment becomes the configuration of Kafka's client, or one clear error without a secret."""

from __future__ import annotations

import pytest
from gcn_kafka.core import get_config

from skymap_scanner.errors import InputError
from skymap_scanner.notices.gcn_settings import TEST_TOPIC, TOPIC, client_configuration, topic_of

CREDENTIALS = {"SKYMAP_GCN_CLIENT_ID": "icecube", "SKYMAP_GCN_CLIENT_SECRET": "hidden"}


def test_gcns_own_kafka_is_reached_as_its_client_does():
    given = {"client_id": "icecube", "client_secret": "hidden", "domain": "test.gcn.nasa.gov"}
    theirs = get_config("producer", {}, **given)
    ours = client_configuration(CREDENTIALS | {"SKYMAP_GCN_DOMAIN": "test.gcn.nasa.gov"}, theirs["ssl.ca.location"])
    assert ours == {key: value for key, value in theirs.items() if key != "compression.type"}
    assert client_configuration(CREDENTIALS, "")["bootstrap.servers"] == "kafka.gcn.nasa.gov"


@pytest.mark.parametrize("broker", ["127.0.0.1:9092", "localhost:1", "[::1]:9092", "127.0.0.1:1, 127.0.0.1:2"])
def test_kafka_on_this_machine_needs_no_credentials(broker):
    found = client_configuration({"SKYMAP_GCN_BROKER": broker}, "")
    assert found == {"bootstrap.servers": broker, "security.protocol": "plaintext"}


@pytest.mark.parametrize(
    "broker", ["kafka.example.org:9092", "127.0.0.1:9092,kafka.example.org:9092", "127.0.0.1.org:1"]
)
def test_kafka_elsewhere_is_reached_over_tls(broker):
    with pytest.raises(InputError, match="needs credentials"):
        client_configuration({"SKYMAP_GCN_BROKER": broker}, "")
    assert client_configuration(CREDENTIALS | {"SKYMAP_GCN_BROKER": broker}, "")["security.protocol"] == "sasl_ssl"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "GCN needs credentials"),
        ({"SKYMAP_GCN_CLIENT_ID": "icecube"}, "SKYMAP_GCN_CLIENT_SECRET"),
        ({"SKYMAP_GCN_CLIENT_SECRET": "hidden", "SKYMAP_GCN_BROKER": "127.0.0.1:1"}, "SKYMAP_GCN_CLIENT_ID"),
        (CREDENTIALS | {"SKYMAP_GCN_DOMAIN": "gcn.example.org"}, "SKYMAP_GCN_DOMAIN is none of"),
        (CREDENTIALS | {"SKYMAP_GCN_TOKEN_URL": "http://auth.gcn.nasa.gov/"}, "must begin with https"),
        (CREDENTIALS | {"SKYMAP_GCN_CLIENT_SECRET_FILE": "x"}, "are both set"),
    ],
)
def test_incomplete_settings_are_one_error_without_secrets(environment, message):
    with pytest.raises(InputError, match=message) as failure:
        client_configuration(environment, "")
    assert "hidden" not in str(failure.value)


def test_topic_follows_tense_unless_it_is_given():
    assert (topic_of("", "current"), topic_of("", "archival"), topic_of("", "test")) == (TOPIC, TOPIC, TEST_TOPIC)
    assert topic_of("gcn.notices.icecube.x", "test") == "gcn.notices.icecube.x"
