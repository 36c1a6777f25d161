"""Sending to servers that answer, refuse, hang or misbehave: no notice is lost, and no secret is stored."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import json
import logging
import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.notices.examples import initial, make_notice, retraction
from tests.unit.notices.receiver import Receiver
from tests.unit.security.conftest import Servers

from skymap_scanner.errors import InputError
from skymap_scanner.notices import outbox as outbox_module
from skymap_scanner.notices import sender as sender_module
from skymap_scanner.notices.channel import NotDelivered, Undeliverable
from skymap_scanner.notices.destination import Destination, parse_destination
from skymap_scanner.notices.http_channel import HttpChannel, signature
from skymap_scanner.notices.outbox import FILE, MAX_ENTRIES, Outbox, open_outbox
from skymap_scanner.notices.sender import Retries, Sender

SECRET = "correct horse battery staple"  # noqa: S105 - of these tests
QUICK = Retries(attempt=2.0, pause=0.01, longest=0.05)
ROOT = Path(__file__).parents[3]


def webhook(url: str) -> Destination:
    return Destination("webhook", "webhook", url, SECRET.encode())


def deliver(outbox: Outbox, *destinations: Destination, seconds: float = 5.0, retries: Retries = QUICK):
    """Send what is pending; return what the destinations have not got, and what was shown."""
    shown: list[tuple[str, str, str]] = []
    channels = {one.label: HttpChannel(one) for one in destinations}
    sender = Sender(outbox, channels, lambda one: shown.append((one.destination, one.key, one.state)), retries)
    sender.start()
    return sender.finish(seconds), shown


@pytest.fixture
def outbox(tmp_path) -> Outbox:
    box = Outbox(tmp_path)
    box.add(initial(), {"webhook": "webhook"})
    box.add(make_notice(), {"webhook": "webhook"})
    return box


def test_notices_arrive_in_order_and_once(outbox):
    with Receiver().running() as receiver:
        assert deliver(outbox, webhook(receiver.url)) == (
            [],
            [("webhook", one.key, "sent") for one in (initial(), make_notice())],
        )
        assert receiver.keys == [initial().key, make_notice().key]
        assert outbox.add(make_notice(), {"webhook": "webhook"}) == []
        assert deliver(outbox, webhook(receiver.url)) == ([], [])
        assert len(receiver.received) == 2
    headers, body = receiver.received[1]
    assert json.loads(body)["key"] == headers["idempotency-key"] == make_notice().key
    assert headers["content-type"] == "application/json"
    assert {one.state for one in outbox.entries} == {"sent"}


@pytest.mark.parametrize("text", [SECRET, "whsec_" + base64.b64encode(b"s" * 32).decode()])
def test_signature_is_verified_as_the_docs_say(outbox, text):
    page = (ROOT / "docs/how-to/send-notices.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    with Receiver().running() as receiver:
        destination = parse_destination(f"webhook={receiver.url}", {"SKYMAP_NOTIFY_SECRET": text})
        deliver(outbox, replace(destination, label="webhook"))
    headers, body = receiver.received[0]
    names = {}
    exec(code, names)  # noqa: S102 - our own page
    assert names["is_ours"](headers, body, text)
    assert not names["is_ours"](headers, body + b" ", text)
    assert not names["is_ours"](headers, body, "another secret of 24 bytes")
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    old["webhook-signature"] = signature(destination.secret, old["webhook-id"], old["webhook-timestamp"], body)
    assert not names["is_ours"](old, body, text)


def test_signature_is_that_of_standard_webhooks():
    # The example of their specification's reference libraries.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    assert found[3:] == base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_temporary_errors_are_retried_with_the_same_bytes(outbox, status):
    with Receiver((status, {}), (status, {}), (200, {})).running() as receiver:
        assert deliver(outbox, webhook(receiver.url))[0] == []
    assert receiver.keys == [initial().key] * 3 + [make_notice().key]
    assert len({body for _, body in receiver.received[:3]}) == 1
    assert [one.attempts for one in outbox.entries] == [3, 1]


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 422])
def test_other_errors_are_final_and_block_no_later_notice(outbox, status):
    with Receiver().running() as elsewhere:
        with Receiver((status, {"Location": elsewhere.url}), (200, {})).running() as receiver:
            left, shown = deliver(outbox, webhook(receiver.url))
        assert elsewhere.received == []
    assert [one.key for one in left] == [initial().key]
    assert [state for _, _, state in shown] == ["failed", "sent"]
    assert str(status) in outbox.entries[0].error
    assert outbox.add(initial(), {"webhook": "webhook"})[0].state == "pending"  # the same command tries again


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("7", 7.0),
        ("9" * 400, 60.0),
        ("Sat, 02 Dec 2023 17:08:34 GMT", 10.0),
        ("Sat, 02 Dec 2099 17:08:34 GMT", 60.0),
        ("Sat, 02 Dec 2000 17:08:34 GMT", 0.0),
        ("soon", None),
        ("Sat, 02 Dec 99999999999999999999 17:08:34 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(outbox, asked, wait):
    with Receiver((503, {"Retry-After": asked})).running() as receiver, pytest.raises(NotDelivered) as failure:
        HttpChannel(webhook(receiver.url), clock=lambda: 1701536904.0).send(outbox.entries[0], 5.0)
    assert failure.value.wait == wait


def test_retry_after_delays_the_next_attempt(outbox):
    with Receiver((503, {"Retry-After": "1"}), (200, {})).running() as receiver:
        began = time.monotonic()
        assert deliver(outbox, webhook(receiver.url))[0] == []
    assert time.monotonic() - began >= 1.0


def test_attempts_end_at_the_deadline_and_stay_pending(outbox):
    with Receiver((503, {})).running() as receiver:
        began = time.monotonic()
        left, _ = deliver(outbox, webhook(receiver.url), seconds=0.5)
    assert time.monotonic() - began < 3.0
    assert [one.state for one in left] == ["pending", "pending"]
    with Receiver().running() as receiver:
        assert deliver(Outbox(outbox._path.parent), webhook(receiver.url))[0] == []
    assert receiver.keys == [initial().key, make_notice().key]


def test_pauses_grow_and_vary_within_limits():
    retries = Retries(pause=1.0, longest=60.0)
    for failures, whole in ((1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (10_000, 60.0)):
        drawn = [retries.pause_after(failures) for _ in range(200)]
        assert whole / 2 <= min(drawn) < max(drawn) <= whole
        assert max(drawn) - min(drawn) > whole / 4


def test_dead_destination_does_not_hold_up_others(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.add(make_notice(), {"dead": "webhook", "alive": "slack"})
    with socket.create_server(("127.0.0.1", 0)) as silent, Receiver().running() as receiver:
        dead = Destination("webhook", "dead", f"http://127.0.0.1:{silent.getsockname()[1]}/", SECRET.encode())
        alive = Destination("slack", "alive", receiver.url)
        left, shown = deliver(outbox, dead, alive, seconds=1.0)
    assert [one.destination for one in left] == ["dead"]
    assert shown == [("alive", make_notice().key, "sent")]
    assert "webhook-signature" not in receiver.received[0][0]


@pytest.fixture
def servers():
    running = Servers()
    yield running
    running.end()


def endless_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"X: " + b"a" * 4096 + b"\r\n")


def slow_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"X")
        time.sleep(0.05)


def endless_body(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.sendall(b"a" * 65536)


@pytest.mark.parametrize(
    ("answer", "delivered"), [(endless_headers, False), (slow_headers, False), (endless_body, True)]
)
def test_hostile_answers_are_bounded(servers, answer, delivered, outbox):
    channel = HttpChannel(webhook(f"http://127.0.0.1:{servers.start(answer).port}/"))
    began = time.monotonic()
    if delivered:
        channel.send(outbox.entries[0], 1.0)
    else:
        with pytest.raises(NotDelivered):
            channel.send(outbox.entries[0], 1.0)
    assert time.monotonic() - began < 3.0


def test_address_without_a_server_is_a_temporary_error(outbox):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret-path"
    with pytest.raises(NotDelivered) as failure:
        HttpChannel(webhook(url)).send(outbox.entries[0], 1.0)
    assert "secret" not in str(failure.value)
    with pytest.raises(Undeliverable):
        HttpChannel(webhook("https://" + "a" * 70 + ".example/")).send(outbox.entries[0], 1.0)


def test_http_requests_bypass_proxies(outbox, monkeypatch):
    with Receiver().running() as proxy, Receiver().running() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert deliver(outbox, webhook(receiver.url))[0] == []
    assert (len(proxy.received), len(receiver.received)) == (0, 2)


def test_no_secret_reaches_log_or_outbox(outbox, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    with Receiver((500, {}), (404, {}), (200, {})).running() as receiver:
        deliver(outbox, Destination("webhook", "webhook", f"{receiver.url}-hidden", SECRET.encode()))
    kept = caplog.text + (tmp_path / FILE).read_text()
    assert "500" in kept
    assert SECRET not in kept
    # The client's own debug messages are off in every command; see `cli.group`.
    assert "hidden" not in "".join(one.getMessage() for one in caplog.records if not one.name.startswith("httpcore"))


def test_outbox_is_for_one_process_at_a_time(tmp_path):
    with open_outbox(tmp_path), pytest.raises(InputError, match="another process sends"), open_outbox(tmp_path):
        pass
    with open_outbox(tmp_path) as box:
        box.add(make_notice(), {"webhook": "webhook"})
        assert Outbox(tmp_path).entries == box.entries
        assert Outbox(tmp_path).notices("138632_31747601") == [make_notice()]
        assert Outbox(tmp_path).notices("1_1") == []


def test_folder_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(outbox_module.fcntl, "flock", flock)
    with open_outbox(tmp_path) as box:
        assert box.entries == []
    assert "cannot be locked (No locks available)" in caplog.text


def test_outbox_has_a_limit(tmp_path):
    box = Outbox(tmp_path)
    box.add(make_notice(), {str(number): "slack" for number in range(MAX_ENTRIES)})
    with pytest.raises(InputError, match="move it away"):
        box.add(make_notice(number=2), {"one": "slack"})
    assert box.update(box.entries[0], state="sent").state == "sent"
    assert Outbox(tmp_path).entries == box.entries


def test_outbox_takes_no_more_than_it_can_read(tmp_path, monkeypatch):
    box = Outbox(tmp_path)
    box.add(initial(), {"slack": "slack"})
    monkeypatch.setattr(outbox_module, "MAX_BYTES", (tmp_path / FILE).stat().st_size + 100)
    with pytest.raises(InputError, match="move it away"):
        box.add(make_notice(), {"slack": "slack"})
    assert box.update(box.entries[0], error="e" * 200).error
    assert Outbox(tmp_path).entries == box.entries
    assert len(box.entries) == 1


def test_missing_folder_is_one_error(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"), open_outbox(tmp_path / "none"):
        pass


def test_refused_notice_is_retried_unless_a_later_one_arrived(outbox):
    outbox.update(outbox.entries[0], state="failed")
    outbox.retry_failed(["slack"])
    assert [one.state for one in outbox.entries] == ["failed", "pending"]
    outbox.retry_failed(["webhook"])
    assert [one.state for one in outbox.entries] == ["pending", "pending"]
    outbox.update(outbox.entries[0], state="failed")
    outbox.add(retraction(), {"webhook": "webhook"})
    outbox.retry_failed(["webhook"])
    assert [one.state for one in outbox.entries] == ["failed", "pending", "pending"]
    for one in outbox.entries[1:]:
        outbox.update(one, state="sent")
    outbox.retry_failed(["webhook"])
    assert [one.state for one in outbox.entries] == ["failed", "sent", "sent"]
    with Receiver().running() as receiver:
        assert deliver(outbox, webhook(receiver.url)) == ([], [])
        assert receiver.received == []


def test_unsent_notices_are_dropped_but_not_retractions(tmp_path):
    box = Outbox(tmp_path)
    for notice in (initial(), make_notice(), retraction()):
        box.add(notice, {"webhook": "webhook"})
    box.update(box.entries[0], state="sent")
    box.discard_unsent()
    assert [one.notice.type for one in Outbox(tmp_path).entries] == ["initial", "retraction"]


def test_stuck_attempt_does_not_block_finish(outbox, monkeypatch):
    monkeypatch.setattr(sender_module, "GRACE", 0.2)
    released = threading.Event()

    class Stuck:
        def send(self, *_):
            released.wait(20)

    sender = Sender(outbox, {"webhook": Stuck()}, lambda _: None, QUICK)
    sender.start()
    began = time.monotonic()
    assert [one.state for one in sender.finish(0.1)] == ["pending", "pending"]
    assert time.monotonic() - began < 5
    released.set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version": 2, "entries": []}',
        b'{"version": 1, "entries": [{"destination": "slack"}]}',
        b'{"entries": [' + b"[" * 100_000,
        b" " * (2**24 + 1),
    ],
)
def test_invalid_outbox_is_one_clear_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InputError, match=FILE):
        Outbox(tmp_path)


def test_outbox_with_an_incomplete_summary_is_rejected(tmp_path):
    box = Outbox(tmp_path)
    box.add(make_notice(), {"slack": "slack"})
    content = json.loads((tmp_path / FILE).read_text())
    del content["entries"][0]["notice"]["summary"]["best_fit"]
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="the summary lacks best_fit"):
        Outbox(tmp_path)
