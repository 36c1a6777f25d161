"""Notices over a real Kafka: read by GCN's client, valid against its schema, published once despite kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import gcn_kafka
import pytest
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic
from testing.kafka.server import CLIENT, SECRET
from tests.unit.notices.examples import initial, make_notice, retraction
from tests.unit.results.conftest import make_bowl, make_scan

from skymap_scanner.notices.channel import NotDelivered, Undeliverable
from skymap_scanner.notices.documents import gcn
from skymap_scanner.notices.kafka_channel import KafkaChannel
from skymap_scanner.notices.outbox import FILE, Entry, Outbox
from skymap_scanner.results import write_results


@pytest.fixture
def topic() -> str:
    return f"gcn.notices.icecube.t{uuid4().hex[:8]}"


@pytest.fixture
def environment(kafka_server) -> dict[str, str]:
    return {"SKYMAP_GCN_BROKER": kafka_server.plain}


@pytest.fixture
def secured(kafka_server, token_server, tmp_path) -> dict[str, str]:
    """Credentials from a file and a variable, as on a cluster."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    kafka_server.allow("gcn.notices.icecube.", AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE)
    return {
        "SKYMAP_GCN_BROKER": kafka_server.secured,
        "SKYMAP_GCN_TOKEN_URL": token_server.url,
        "SKYMAP_GCN_CLIENT_ID": CLIENT,
        "SKYMAP_GCN_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
    }


def entry_of(notice, attempts: int = 1) -> Entry:
    return Entry(destination="gcn", key=notice.key, document=gcn(notice), notice=notice, attempts=attempts)


def start(environment: dict[str, str], *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "skymap_scanner", *map(str, words)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(environment: dict[str, str], *words: str | Path) -> str:
    process = start(environment, *words)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, output + errors
    return output + errors


def test_notices_are_read_by_gcns_client_and_valid(kafka_server, environment, topic, check_gcn):
    channel = KafkaChannel(topic, environment)
    for notice in (initial(), make_notice(), retraction()):
        channel.send(entry_of(notice), 30)
    read = kafka_server.messages(topic, gcn_kafka.Consumer)
    found = {key: json.loads(value) for key, value in read}
    assert len(read) == len(found) == 3
    for notice in found.values():
        check_gcn(notice)
    assert [found[one.key]["alert_type"] for one in (initial(), make_notice(), retraction())] == [
        "initial",
        "update",
        "retraction",
    ]
    assert "ra" not in found[initial().key]
    assert found[make_notice().key]["healpix_url"].endswith(".multiorder.fits")


def test_test_notices_go_to_the_test_topic(kafka_server, environment):
    KafkaChannel("", environment).send(entry_of(make_notice(tense="test")), 30)
    found = kafka_server.messages("gcn.notices.icecube.test.gold_bronze_track_alerts")
    assert json.loads(dict(found)[make_notice(tense="test").key])["alert_tense"] == "test"


def test_credentials_of_openid_connect_are_used(kafka_server, token_server, secured, topic):
    KafkaChannel(topic, secured).send(entry_of(make_notice()), 30)
    assert token_server.requests > 0
    assert [key for key, _ in kafka_server.messages(topic)] == [make_notice().key]


def test_refused_credentials_are_a_temporary_error_without_secrets(token_server, secured, topic, capfd, caplog):
    token_server.refuse = True
    with pytest.raises(NotDelivered) as failure:
        KafkaChannel(topic, secured).send(entry_of(make_notice()), 3)
    shown = capfd.readouterr()
    assert SECRET not in f"{failure.value} {shown.out} {shown.err} {caplog.text}"


def test_forbidden_topic_is_a_final_error(secured):
    with pytest.raises(Undeliverable):
        KafkaChannel("gcn.notices.swift.bat", secured).send(entry_of(make_notice()), 20)


def test_unreachable_broker_is_a_temporary_error(topic):
    began = time.monotonic()
    with pytest.raises(NotDelivered):
        KafkaChannel(topic, {"SKYMAP_GCN_BROKER": "127.0.0.1:9"}).send(entry_of(make_notice()), 2)
    assert time.monotonic() - began < 6


def test_notice_in_the_topic_is_not_published_again(kafka_server, environment, topic):
    """After a crash the outbox may know of an attempt, but not that the broker has the notice."""
    channel = KafkaChannel(topic, environment)
    channel.send(entry_of(initial()), 30)
    channel.send(entry_of(make_notice()), 30)
    for attempts in (2, 3):
        channel.send(entry_of(make_notice(), attempts), 30)
    channel.send(entry_of(retraction(), attempts=2), 30)  # its first attempt never reached the broker
    keys = [key for key, _ in kafka_server.messages(topic)]
    assert sorted(keys) == sorted([initial().key, make_notice().key, retraction().key])


def test_repeated_attempt_creates_a_missing_topic(kafka_server, environment, topic):
    KafkaChannel(topic, environment).send(entry_of(make_notice(), attempts=2), 30)
    assert len(kafka_server.messages(topic)) == 1


def test_unreadable_topic_gets_the_same_key_again(kafka_server, secured, topic, caplog):
    """Credentials without read access: the notice is published at least once, with the same key."""
    channel = KafkaChannel(topic, secured)
    channel.send(entry_of(make_notice()), 30)
    channel.send(entry_of(make_notice(), attempts=2), 30)
    assert [key for key, _ in kafka_server.messages(topic)] == [make_notice().key] * 2
    assert "may be published a second time" in caplog.text


@pytest.mark.slow
def test_each_notice_is_published_once_despite_ten_kills(kafka_server, environment, topic, tmp_path, check_gcn):
    """Kill the command five times once the notice is in the topic, and five times at a random moment."""
    write_results(make_scan(make_bowl(138.65, 0.15, 0.3), event_type="gfu-gold"), tmp_path, ["json"])
    chance = random.Random(7)
    admin = AdminClient({"bootstrap.servers": kafka_server.plain})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    states = []
    for number in range(10):
        words = ["notify", tmp_path, "--to", f"gcn={topic}", "--comment", f"number {number}"]
        process = start(environment, *words)
        if number % 2:
            kafka_server.wait_for(topic, number + 1)
        else:
            time.sleep(chance.uniform(0.5, 2.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        box = Outbox(tmp_path).entries if (tmp_path / FILE).exists() else []
        states.append(next((one.state for one in box if one.notice.comment == f"number {number}"), "none"))
        run(environment, *words)
    found = kafka_server.messages(topic, gcn_kafka.Consumer)
    assert len(found) == len({key for key, _ in found}) == 10, states
    assert {json.loads(value)["description"] for _, value in found} == {f"number {one}" for one in range(10)}
    assert sorted(json.loads(value)["record_number"] for _, value in found) == list(range(10))
    for _, value in found:
        check_gcn(json.loads(value))
    assert {"none", "pending"} & set(states), "no kill came before the mark"
    run(environment, *words)
    assert len(kafka_server.messages(topic)) == 10


@pytest.mark.slow
def test_run_publishes_initial_notice_and_result(kafka_server, environment, topic, tmp_path, check_gcn):
    words = ["run", "demo", "-o", tmp_path, "--reconstruction", "dummy", "--levels", "4:0", "16:12", "--workers", "1"]
    run(environment, *words, "--notify", f"gcn={topic}", "--results-url", "https://x.org")
    run(environment, "notify", tmp_path, "--to", f"gcn={topic}", "--retract", "--comment", "LEDs")
    found = [json.loads(value) for _, value in kafka_server.messages(topic, gcn_kafka.Consumer)]
    found.sort(key=lambda one: one["record_number"])
    for notice in found:
        check_gcn(notice)
    assert [one["alert_type"] for one in found] == ["initial", "update", "retraction"]
    assert {one["alert_tense"] for one in found} == {"test"}
    assert [("ra" in one, "healpix_url" in one) for one in found] == [(False, False), (True, True), (False, False)]
