from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from skymap_api.pulsar_admin import (
    BACK_OFF,
    MAX_REDIRECTS,
    RETRIES,
    AdminRequests,
    Answer,
    Exchange,
    PulsarAdminError,
    PulsarDenied,
    PulsarUnavailable,
    Request,
    TopicList,
    split_topic,
)
from skymap_api.pulsar_policies import POLICIES, RETENTION
from skymap_api.pulsar_statistics import Subscription, add_subscriptions
from skymap_api.resource.base import INT32

ADMIN = AdminRequests("https://pulsar:8443")
TOPIC = "persistent://t/n/a b"
PATH = "/persistent/t/n/a%20b"


def answer(status: int, content: Any = None, **headers: str) -> Answer:
    """Return an answer with JSON, or with the given bytes."""
    body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


OK, CREATED, MISSING, CONFLICT, BUSY = (answer(status) for status in (200, 204, 404, 409, 412))


def play(exchange: Exchange[Any], answers: Sequence[Answer]) -> tuple[list[Request], Any]:
    """Send the answers in order; return the requests and the result, or the error."""
    requests, left = [], list(answers)
    try:
        request = next(exchange)
        while True:
            requests.append(request)
            request = exchange.send(left.pop(0))
    except StopIteration as end:
        assert not left, "every answer is used"
        return requests, end.value
    except PulsarAdminError as error:
        assert not left, "every answer is used"
        return requests, error


def sent(exchange: Exchange[Any], *answers: Answer) -> tuple[list[str], Any]:
    """Return the requests as lines, and the result."""
    requests, result = play(exchange, answers)
    prefix = "https://pulsar:8443/admin/v2"
    assert all(one.url.startswith(prefix) for one in requests)
    lines = [
        f"{one.method} {one.url.removeprefix(prefix)}" + ("" if one.json is None else f" {json.dumps(one.json)}")
        for one in requests
    ]
    return lines, result


@pytest.mark.parametrize(
    "name", ["x", "persistent://t/n", "persistent://t/n/", "persistent:///n/x", "other://t/n/x", ""]
)
def test_partial_topic_names_are_rejected(name: str) -> None:
    with pytest.raises(PulsarAdminError, match="write the full name, persistent://tenant/namespace/topic"):
        split_topic(name)
    assert split_topic(TOPIC) == ("t", "n", "a b")


@pytest.mark.parametrize(
    ("exchange", "answers", "requests", "result"),
    [
        (ADMIN.create_topic(TOPIC), [CREATED], [f"PUT {PATH}"], None),
        (ADMIN.create_topic(TOPIC), [CONFLICT], [f"PUT {PATH}"], None),
        (ADMIN.create_topic(TOPIC), [BUSY, answer(500), CREATED], [f"PUT {PATH}"] * 3, None),
        (
            ADMIN.create_subscription(TOPIC, "s/1"),
            [CONFLICT],
            [f'PUT {PATH}/subscription/s%2F1 "earliest"'],
            None,
        ),
        (ADMIN.delete_topic(TOPIC, partitioned=False), [MISSING], [f"DELETE {PATH}?force=true"], None),
        (ADMIN.delete_topic(TOPIC, partitioned=True), [CREATED], [f"DELETE {PATH}/partitions?force=true"], None),
        (ADMIN.topic_exists(TOPIC), [answer(200, {"partitions": 0})], [f"GET {PATH}/partitions"], True),
        (ADMIN.topic_exists(TOPIC), [MISSING], [f"GET {PATH}/partitions"], False),
        (ADMIN.partition_count(TOPIC), [answer(200, {"partitions": 3})], [f"GET {PATH}/partitions"], 3),
        (ADMIN.partition_count(TOPIC), [MISSING], [f"GET {PATH}/partitions"], 0),
        (
            ADMIN.grant("t/n", "a:role"),
            [CREATED],
            ['POST /namespaces/t/n/permissions/a%3Arole ["produce", "consume"]'],
            None,
        ),
        (
            ADMIN.grant(TOPIC, "a:role", ["consume"]),
            [BUSY, CREATED],
            [f'POST {PATH}/permissions/a%3Arole ["consume"]'] * 2,
            None,
        ),
        (
            ADMIN.policies("t"),
            [answer(200, ["t/n", "t/gone"]), MISSING, answer(200, {"deduplicationEnabled": None})],
            ["GET /namespaces/t", "GET /namespaces/t/gone", "GET /namespaces/t/n"],
            {"t/n": {"deduplicationEnabled": None}},
        ),
        (ADMIN.policies("t"), [MISSING], ["GET /namespaces/t"], {}),
        (ADMIN.revoke("t/n", "role"), [MISSING], ["DELETE /namespaces/t/n/permissions/role"], None),
        (
            ADMIN.permissions(TOPIC),
            [answer(200, {"role": ["consume"]})],
            [f"GET {PATH}/permissions"],
            {"role": frozenset({"consume"})},
        ),
    ],
)
def test_operations_send_the_expected_requests(
    exchange: Exchange[Any], answers: list[Answer], requests: list[str], result: object
) -> None:
    assert sent(exchange, *answers) == (requests, result)


RETAIN = f"POST /namespaces/t/n/retention {json.dumps(RETENTION)}"
CREATE = f"PUT /namespaces/t/n {json.dumps(POLICIES)}"
TENANT = 'PUT /tenants/t {"allowedClusters": ["here"], "adminRoles": []}'
CLUSTERS = answer(200, ["here", "global"])


@pytest.mark.parametrize(
    ("keep", "answers", "requests"),
    [
        (True, [MISSING, MISSING, CLUSTERS, CREATED, CREATED], ["GET /tenants/t", "GET /clusters", TENANT, CREATE]),
        (True, [MISSING, answer(403), CONFLICT], ["GET /tenants/t", CREATE]),
        (True, [answer(403)], []),
        (True, [answer(200), CREATED], [RETAIN]),
        (True, [answer(200, b"null"), CREATED], [RETAIN]),
        (True, [answer(200, {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}), CREATED], [RETAIN]),
        (True, [answer(200, {"retentionTimeInMinutes": 600, "retentionSizeInMB": 100})], []),
        (False, [answer(200)], []),
    ],
)
def test_namespace_is_created_and_keeps_messages(keep: bool, answers: list[Answer], requests: list[str]) -> None:
    lines, result = sent(ADMIN.create_namespace("t", "n", POLICIES, keep_messages=keep), *answers)
    assert (lines, result) == (["GET /namespaces/t/n/retention", *requests], None)


def test_busy_requests_are_retried_after_a_pause() -> None:
    requests, result = play(ADMIN.create_topic(TOPIC), [BUSY] * RETRIES + [answer(500, {"reason": "still busy"})])
    assert [one.delay for one in requests] == [0.0, *[BACK_OFF] * RETRIES]
    assert isinstance(result, PulsarUnavailable)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_keep_method_path_and_body(status: int) -> None:
    path = f"/admin/v2{PATH}/subscription/s"
    for location in (f"https://broker-1.pulsar.example:8443{path}?authoritative=true", f"{path}?authoritative=true"):
        admin = AdminRequests("https://pulsar.example:8443")
        asked, result = play(admin.create_subscription(TOPIC, "s"), [answer(status, location=location), CREATED])
        assert result is None
        host = "broker-1.pulsar.example" if location.startswith("https") else "pulsar.example"
        assert asked[1].url == f"https://{host}:8443{path}?authoritative=true"
        assert (asked[1].method, asked[1].json) == ("PUT", "earliest")


def test_endless_redirects_end() -> None:
    requests, result = play(ADMIN.topic_exists(TOPIC), [answer(307, location="")] * MAX_REDIRECTS)
    assert len(requests) == MAX_REDIRECTS
    assert isinstance(result, PulsarUnavailable)


def test_redirect_to_a_stranger_is_not_followed_and_not_quoted() -> None:
    requests, result = play(
        ADMIN.delete_topic(TOPIC, partitioned=False), [answer(307, location="https://kubernetes/x")]
    )
    assert len(requests) == 1
    assert isinstance(result, PulsarUnavailable)
    assert str(result).startswith(
        "https://pulsar:8443 redirects (307) to a host or port that is not one of its brokers"
    )
    assert "kubernetes" not in str(result)


def unreachable(exchange: Exchange[Any], count: int) -> tuple[list[Request], Any]:
    """Let the first requests find nobody, and the next one find no topic; return the requests and the result."""
    requests = [next(exchange)]
    try:
        requests += [exchange.throw(PulsarUnavailable(f"no answer {number}")) for number in range(count)]
        exchange.send(MISSING)
    except StopIteration as end:
        return requests, end.value
    except PulsarUnavailable as error:
        return requests, str(error)
    raise AssertionError("one more request")


def test_next_broker_is_asked_where_one_cannot_be_reached() -> None:
    admin = AdminRequests("http://one:8080,two:8081")
    requests, found = unreachable(admin.topic_exists(TOPIC), 1)
    assert [one.url for one in requests] == [
        f"http://{host}/admin/v2{PATH}/partitions" for host in ("one:8080", "two:8081")
    ]
    assert found is False
    assert unreachable(admin.topic_exists(TOPIC), 2)[1] == "no answer 0"


@pytest.mark.parametrize("url", ["nowhere", "ftp://host", "http://", "http://host:port", "http://user:secret@host"])
def test_malformed_admin_url_is_one_error(url: str) -> None:
    with pytest.raises(PulsarAdminError, match="admin URL"):
        AdminRequests(url)


@pytest.mark.parametrize(
    ("found", "kind", "words", "trusted"),
    [
        (answer(401, b"no"), PulsarDenied, "401 Unauthorized. Check the token", "401 no. Check the token"),
        (
            answer(403, {"reason": "not  yours\nat all"}),
            PulsarDenied,
            "403 Forbidden. Check the token",
            "403 not yours at all. Check the token",
        ),
        (answer(400), PulsarAdminError, "400 Bad Request", "400 Bad Request"),
        (answer(418, b"x" * 5000), PulsarAdminError, "418 I'm a Teapot", f"418 {'x' * 199}…"),
        (answer(599, b"\xff"), PulsarUnavailable, "599", "599 \ufffd"),
        (answer(599), PulsarUnavailable, "599", "599"),
        (answer(503, {"reason": "metadata lost"}), PulsarUnavailable, "503 Service Unavailable", "503 metadata lost"),
        (answer(503, b"[" * 100_000), PulsarUnavailable, "503 Service Unavailable", "503 ["),
        (answer(403, b"\x1b[31m"), PulsarDenied, "403 Forbidden", "403 \\x1b[31m"),
    ],
)
def test_rejections_quote_a_trusted_server_only(
    found: Answer, kind: type[PulsarAdminError], words: str, trusted: str
) -> None:
    for admin, expected in ((ADMIN, words), (AdminRequests(ADMIN.url, trusted=True), trusted)):
        [request], error = play(admin.topic_exists(TOPIC), [found])
        assert type(error) is kind
        assert str(error).startswith(f"https://pulsar:8443 refused GET {PATH}/partitions: {expected}")
        assert (request.error_limit > 0) is admin.trusted


def test_lists_and_statistics_have_their_limits() -> None:
    admin = AdminRequests("http://pulsar", longest=12_345)
    limits = {
        name: [one.limit for one in play(exchange, answers)[0]]
        for name, exchange, answers in (
            ("topics", admin.list_topics("t", "n"), [answer(200, []), answer(200, [])]),
            ("statistics", admin.subscriptions(TOPIC), [answer(200, {})]),
        )
    }
    assert limits == {"topics": [12_345, 12_345], "statistics": [12_345]}


def test_denied_access_names_the_clients_credentials() -> None:
    _, error = play(AdminRequests("http://pulsar", "the token (--auth-token FILE)").topic_exists(TOPIC), [answer(403)])
    assert "403 Forbidden. Check the token (--auth-token FILE), and what its role may do" in str(error)


LISTED = [f"persistent://t/n/{name}" for name in ("a", "p-partition-0", "p-partition-1", "b-partition-2", "__internal")]


def test_partitioned_topics_are_listed_once() -> None:
    a, b, p = (f"persistent://t/n/{name}" for name in ("a", "b-partition-2", "p"))
    lines, found = sent(ADMIN.list_topics("t", "n"), answer(200, LISTED), answer(200, [p]))
    assert lines == ["GET /persistent/t/n", "GET /persistent/t/n/partitioned"]
    assert found == TopicList(frozenset({a, b, p}), frozenset({p}))
    assert sent(ADMIN.list_topics("t", "n"), MISSING) == (["GET /persistent/t/n"], TopicList())
    assert sent(ADMIN.list_topics("t", "n"), answer(200, [a]), MISSING)[1] == TopicList(frozenset({a}))


@pytest.mark.parametrize(
    ("prefix", "answers", "requests", "found"),
    [
        ("persistent://t/n/a", [], [], ["persistent://t/n/a"]),
        ("persistent://t/n", [answer(200, ["t/n"])], ["GET /namespaces/t"], [LISTED[0], LISTED[3]]),
        ("persistent://t/", [MISSING], ["GET /namespaces/t"], None),
        ("", [answer(200, ["t"]), answer(200, ["t/n"])], ["GET /tenants", "GET /namespaces/t"], [LISTED[0], LISTED[3]]),
    ],
)
def test_topics_are_found_by_their_prefix(
    prefix: str, answers: list[Answer], requests: list[str], found: list[str] | None
) -> None:
    listing = [] if found is None else [answer(200, LISTED), answer(200, ["persistent://t/n/p"])]
    lines, topics = sent(ADMIN.find_topics(prefix), *answers, *listing)
    assert lines[: len(requests)] == requests
    if prefix.endswith("/a"):
        assert topics == found
    else:
        assert topics == sorted([*found, "persistent://t/n/p"] if found else [])


STATS = {
    "subscriptions": {
        "workers": {
            "msgBacklog": 7,
            "unackedMessages": 3,
            "type": "Shared",
            "consumers": [
                {
                    "address": "/10.0.0.7:41234",
                    "unackedMessages": 3,
                    "msgOutCounter": 5,
                    "connectedSince": "2026-01-01T00:00:00Z",
                    "lastConsumedTimestamp": 1767225640000,
                },
                {"address": "/[::1]:5", "unackedMessages": 1},
                {"address": None, "connectedSince": None, "msgOutCounter": 9},
                {"unackedMessages": 0},
            ],
        },
        "negative": {"msgBacklog": -5, "unackedMessages": 2},
        "huge": {"msgBacklog": 2**62, "unackedMessages": 2**61, "type": None},
        "late": {"consumers": [{"msgOutCounter": 9, "connectedSince": "9999-12-31T23:59:59.999999-23:59"}]},
    }
}


def test_statistics_become_bounded_subscriptions() -> None:
    lines, found = sent(ADMIN.subscriptions(TOPIC), answer(200, STATS))
    assert lines == [f"GET {PATH}/stats?getPreciseBacklog=true"]
    assert found == {
        "workers": Subscription(4, 3, frozenset({"10.0.0.7", "::1"}), 4, 40.0, "Shared"),
        "negative": Subscription(0, 0),
        "huge": Subscription(0, INT32),
        "late": Subscription(),
    }
    assert sent(ADMIN.subscriptions(TOPIC), MISSING)[1] is None


def test_statistics_of_partitions_add_up() -> None:
    one, two = (Subscription(4, 1, frozenset({"a"}), 10, 6.0, "Shared"), Subscription(INT32, 2, frozenset("b"), 5, 3.0))
    assert add_subscriptions([{"s": one}, {"s": two, "t": one}], 2) == {
        "s": Subscription(INT32, 3, frozenset("ab"), 15, 4.5, "None and Shared"),
        "t": Subscription(4, 1, frozenset({"a"}), 10, 3.0, "Shared"),
    }
    assert add_subscriptions([{"s": one}], 1) == {"s": one}
    assert add_subscriptions([], 1) == {}


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"{", b"null", b"42", b'"text"', b'{"not": 1}', b"[[]]", b"[" * 100_000]
)
@pytest.mark.parametrize(
    ("operation", "before"),
    [
        ("list_topics", []),
        ("find_topics", []),
        ("subscriptions", []),
        ("create_namespace", [MISSING, MISSING]),
    ],
)
def test_other_servers_are_recognised(operation: str, before: list[Answer], body: bytes) -> None:
    arguments = {"list_topics": ("t", "n"), "create_namespace": ("t", "n", {}), "find_topics": ("",)}
    after = [answer(200, [])] if operation == "list_topics" else []
    exchange = getattr(ADMIN, operation)(*arguments.get(operation, (TOPIC,)))
    _, error = play(exchange, [*before, answer(200, body), *after])
    assert str(error) == "https://pulsar:8443 does not answer as Pulsar's admin interface does: check its address"


@pytest.mark.parametrize(
    "stats",
    [
        {"subscriptions": {"s": {"msgBacklog": "many"}}},
        {"subscriptions": {"s": {"msgBacklog": 1e300}}},
        {"subscriptions": {"s": {"msgBacklog": 10**30}}},
        {"subscriptions": {"s": {"consumers": 7}}},
        {"subscriptions": {"s": {"consumers": [{"lastConsumedTimestamp": 10**400}]}}},
        {"subscriptions": {"s": []}},
        {"subscriptions": []},
    ],
)
def test_impossible_statistics_are_rejected(stats: dict[str, Any]) -> None:
    _, error = play(ADMIN.subscriptions(TOPIC), [answer(200, stats)])
    assert "does not answer as Pulsar's admin interface does" in str(error)


@pytest.mark.parametrize("count", [1025, 2**31, 2**63, "many", 1.5])
def test_impossible_partition_counts_are_rejected(count: object) -> None:
    _, error = play(ADMIN.partition_count(TOPIC), [answer(200, {"partitions": count})])
    assert isinstance(error, PulsarAdminError)
