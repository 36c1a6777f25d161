"""Who a user is, and what they may see."""

from __future__ import annotations

import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.live.cluster.conftest import PROXY_SECRET, FakeApi, Says

from skymap_scanner.live.cluster import access as module
from skymap_scanner.live.cluster.access import Access, Remembered, User, basic_login, bearer_token


def basic(name: str, secret: str = PROXY_SECRET) -> str:
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode()


@pytest.mark.parametrize("token", ["", "unknown", "two words", "umlaut-ä", "a\nb", "x" * (module.MAX_TOKEN + 1)])
def test_wrong_tokens_have_no_user(token: str) -> None:
    api = FakeApi()
    assert Access(api).user_with(token) is None
    assert api.asked == [("TokenReview", one) for one in [token] if one == "unknown"]


def test_user_is_as_the_api_server_says_and_remembered() -> None:
    api, now = FakeApi(), [0.0]
    access = Access(api, clock=lambda: now[0])
    ada = User("ada", ("people",), "1", (("k", ("v",)),))
    assert [access.user_with("token-of-ada") for _ in range(3)] == [ada] * 3
    assert api.asked == [("TokenReview", "token-of-ada")]
    del api.tokens["token-of-ada"]  # revoked
    now[0] += module.TRUST_TIME
    assert access.user_with("token-of-ada") is None


@pytest.mark.parametrize(
    ("said", "known"), [(["page"], True), (["page", "other"], True), (["other"], False), (None, False)]
)
def test_token_must_be_for_the_audience(said: list[str] | None, known: bool) -> None:
    api = Says(authenticated=True, user={"username": "ada"}, audiences=said)
    assert (Access(api, "page").user_with("a-token") is not None) == known
    assert api.specs == [{"token": "a-token", "audiences": ["page"]}]


@pytest.mark.parametrize("status", [{}, {"authenticated": True}, {"authenticated": "true", "user": {"username": "a"}}])
def test_incomplete_reviews_authenticate_nobody(status: dict[str, Any]) -> None:
    access = Access(Says(**status))
    assert access.user_with("a-token") is None
    assert not access.may(User("a"), "list", "north")


def test_denial_prevails_over_permission() -> None:
    assert Access(Says(allowed=True)).may(User("a"), "list", "north")
    assert not Access(Says(allowed=True, denied=True)).may(User("a"), "list", "north")


def test_proxy_names_a_user_with_his_groups() -> None:
    access = Access(FakeApi(), proxy=PROXY_SECRET)
    assert access.user_of_proxy(basic("ada"), "shift, oidc:physics,") == User(
        "ada", ("shift", "oidc:physics", "system:authenticated")
    )


def test_names_of_a_proxy_begin_with_its_prefix() -> None:
    access = Access(FakeApi(), proxy=PROXY_SECRET, prefix="sso:")
    found = access.user_of_proxy(basic("ada"), "kubeadm:cluster-admins,shift")
    assert found == User("sso:ada", ("sso:kubeadm:cluster-admins", "sso:shift", "system:authenticated"))
    assert access.user_of_proxy(basic(""), "shift") is None


@pytest.mark.parametrize(
    ("authorization", "groups"),
    [
        ("", ""),
        ("Bearer token-of-ada", ""),
        (basic("ada", "another secret"), ""),
        (basic("ada", ""), ""),
        (basic(""), ""),
        ("Basic %%%", ""),
        ("Basic", ""),
        (basic("ada"), "system:masters"),
        (basic("ada"), "shift,System:Masters"),
        (basic("system"), ",".join(map(str, range(module.MAX_GROUPS + 1)))),
        (basic("a" * (module.MAX_NAME + 1)), ""),
        (basic("a\x1b"), ""),
    ],
)
def test_proxy_without_secret_or_with_reserved_names_is_refused(authorization: str, groups: str) -> None:
    assert Access(FakeApi(), proxy=PROXY_SECRET).user_of_proxy(authorization, groups) is None


def test_without_a_proxy_no_header_names_a_user() -> None:
    assert Access(FakeApi()).user_of_proxy(basic("ada", ""), "") is None
    assert Access(FakeApi()).user_of_proxy(basic("ada", "None"), "") is None


def test_namespaces_are_those_that_the_user_may_list() -> None:
    api = FakeApi(rights={("ada", "list", "north"), ("bob", "list", "")})
    access = Access(api)
    assert access.listed(User("ada"), ["north", "south"]) == {"north"}
    assert access.listed(User("bob"), ["north", "south"]) == {"north", "south"}
    asked = len(api.asked)
    access.listed(User("ada"), ["north", "south"])
    assert len(api.asked) == asked
    assert not access.may(User("ada"), "get", "north")


def test_rights_for_a_list_are_asked_for_together() -> None:
    meeting, api = threading.Barrier(module.REVIEWS, timeout=30), FakeApi(rights={("ada", "list", "place-3")})

    def review(group: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        if spec["resourceAttributes"]["namespace"]:
            meeting.wait()
        return api.review(group, kind, spec)

    places = [f"place-{number}" for number in range(2 * module.REVIEWS)]
    access = Access(SimpleNamespace(review=review))
    assert access.listed(User("ada"), places) == {"place-3"}
    assert access.listed(User("ada"), places) == {"place-3"}
    assert len(api.asked) == 1 + len(places)
    assert access.listed(User("ada"), [*places[:3], "place-3", *(f"new-{number}" for number in range(4))]) == {
        "place-3"
    }


def test_remembered_answers_are_bounded_and_expire() -> None:
    now, numbers = [0.0], count()
    kept = Remembered[int](2, 10.0, lambda: now[0])
    assert [kept.get(key, lambda: next(numbers)) for key in "aba"] == [0, 1, 0]
    assert kept.get("c", lambda: next(numbers)) == 2
    assert kept.get("a", lambda: next(numbers)) == 3  # a made room for c
    now[0] = 11.0
    assert kept.get("c", lambda: next(numbers)) == 4


def test_threads_that_need_an_answer_ask_once() -> None:
    kept, asked, leave = Remembered[int](2, 10.0), count(), threading.Event()

    def ask() -> int:
        assert leave.wait(30)
        return next(asked)

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(kept.get, "a", ask) for _ in range(4)]
        assert kept.get("b", lambda: 7) == 7  # others do not wait
        leave.set()
        assert [one.result(30) for one in found] == [0] * 4


def test_unknown_tokens_do_not_replace_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_USERS", 2)
    api = FakeApi()
    access = Access(api)
    assert access.user_with("token-of-ada") is not None
    assert {access.user_with(f"random-{number}") for number in range(10)} == {None}
    assert (access.was_known("token-of-ada"), access.was_known("random-9")) == (True, False)
    access.user_with("token-of-ada")
    assert api.asked.count(("TokenReview", "token-of-ada")) == 1


def test_fresh_answer_replaces_the_one_that_is_remembered() -> None:
    api = FakeApi(rights={("ada", "get", "north")})
    access, ada = Access(api), User("ada")
    assert access.may(ada, "get", "north", "a")
    assert access.user_with("token-of-ada") is not None
    api.rights.clear()
    api.tokens.clear()
    assert access.may(ada, "get", "north", "a")
    assert not access.may(ada, "get", "north", "a", fresh=True)
    assert not access.may(ada, "get", "north", "a")
    assert access.user_with("token-of-ada", fresh=True) is None
    assert access.user_with("token-of-ada") is None


def test_failures_are_not_remembered() -> None:
    kept = Remembered[int](2, 10.0)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 1) == 1


def test_headers_are_read_as_their_schemes_say() -> None:
    assert bearer_token("bearer  abc ") == "abc"
    assert bearer_token("Basic abc") == ""
    assert basic_login("BASIC " + b64encode(b"a:b:c").decode()) == ("a", "b:c")
    assert basic_login("Basic " + b64encode(b"\xff:b").decode()) == ("", "")
