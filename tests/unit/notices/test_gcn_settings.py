"""The environment becomes the configuration of Kafka's client, or one clear error without a secret."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import KafkaError
from gcn_kafka.core import get_config
from tests.unit.notices.examples import initial, make_notice, retraction

from skymap_scanner.errors import InputError
from skymap_scanner.notices import kafka_channel
from skymap_scanner.notices.gcn_settings import TEST_TOPIC, TOPIC, client_configuration, topic_of

CREDENTIALS = {"SKYMAP_GCN_CLIENT_ID": "icecube", "SKYMAP_GCN_CLIENT_SECRET": "hidden"}


def test_gcn_configuration_equals_that_of_gcns_client():
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
        (CREDENTIALS | {"SKYMAP_GCN_TOKEN_URL": "https:///oauth2/token"}, "must begin with https"),
        (CREDENTIALS | {"SKYMAP_GCN_CLIENT_SECRET_FILE": "x"}, "are both set"),
    ],
)
def test_incomplete_settings_are_one_error_without_secrets(environment, message):
    with pytest.raises(InputError, match=message) as failure:
        client_configuration(environment, "")
    assert "hidden" not in str(failure.value)


def test_topic_depends_on_tense_unless_it_is_given():
    for tense, topic in (("current", TOPIC), ("archival", TOPIC), ("test", TEST_TOPIC)):
        assert topic_of("", make_notice(tense=tense)) == topic
        assert topic_of("gcn.notices.icecube.x", make_notice(tense=tense)) == "gcn.notices.icecube.x"


@pytest.mark.parametrize("pipeline", ["Cascade Alert", None])
@pytest.mark.parametrize("make", [initial, make_notice, retraction])
def test_topic_of_track_alerts_gets_no_other_events(make, pipeline):
    notice = make()
    notice = replace(notice, fields={**notice.fields, "pipeline": pipeline})
    with pytest.raises(InputError, match="give gcn=TOPIC"):
        topic_of("", notice)
    assert topic_of("", replace(notice, tense="test")) == TEST_TOPIC
    assert topic_of("gcn.notices.icecube.x", notice) == "gcn.notices.icecube.x"
    assert topic_of("", make()) == TOPIC


@pytest.mark.parametrize(
    ("outcome", "failure", "reason"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._TRANSPORT, KafkaError.MSG_SIZE_TOO_LARGE),
        (KafkaError._MSG_TIMED_OUT, KafkaError._AUTHENTICATION, KafkaError._AUTHENTICATION),
        (KafkaError._MSG_TIMED_OUT, None, KafkaError._MSG_TIMED_OUT),
    ],
)
def test_final_error_is_not_hidden_by_earlier_ones(outcome, failure, reason):
    failures = [] if failure is None else [KafkaError(failure)]
    assert kafka_channel._reason(KafkaError(outcome), failures).code() == reason
