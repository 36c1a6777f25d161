"""Who a user is, and what they may see: the API server's answers, cached for a short time.

Reviews are those of Kubernetes: a TokenReview says whose a token is, a SubjectAccessReview whether somebody may do
something. Tokens are remembered as digests alone.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from skymap_api.names import GROUP
from skymap_api.text import is_token

#: How long an answer is cached (s), and how many answers about tokens and about permissions are.
TRUST_TIME, MAX_USERS, MAX_RIGHTS = 30.0, 1000, 20_000
#: How many answers about lists are cached, and most reviews at a time for them.
MAX_LISTS, REVIEWS = 200, 8
#: Longest token: a browser stores no longer cookie. Most groups that a proxy may name, and longest name (characters).
MAX_TOKEN, MAX_GROUPS, MAX_NAME = 3800, 100, 253
#: What names of users and groups begin with that only the API server itself may give.
RESERVED = "system:"

T = TypeVar("T")


class Reviews(Protocol):
    """What is asked of the API server; see `KubernetesApi.review`."""

    def review(self, group: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a review and return its status."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as the API server knows them; ``extra``: what its authenticator adds."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class _NobodyError(Exception):
    """A token has no user. It is not remembered, or strangers' tokens would make those of users forgotten."""


class Remembered(Generic[T]):
    """Answers that are cached for a time (s), the latest ``most`` of them; for any thread.

    Threads that need the same answer ask once.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._asking: dict[Hashable, Future[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Return whether an answer is kept, which may have expired."""
        with self._lock:
            return key in self._answers

    def get(self, key: Hashable, ask: Callable[[], T], *, fresh: bool = False) -> T:
        """Return the answer to a question, which is asked if it is not remembered, or if it must be ``fresh``."""
        with self._lock:
            until, answer = self._answers.get(key, (0.0, None))
            if not fresh and self._clock() < until:
                return cast("T", answer)
            asked, asking = key in self._asking, self._asking.setdefault(key, Future())
        return asking.result() if asked else self._ask(key, ask, asking)

    def _ask(self, key: Hashable, ask: Callable[[], T], asking: Future[T]) -> T:
        """Ask for an answer that others wait for too."""
        try:
            answer = ask()
        except BaseException as error:
            with self._lock:
                del self._asking[key]
            asking.set_exception(error)
            raise
        with self._lock:
            del self._asking[key]
            self._answers[key] = self._clock() + self._seconds, answer
            self._answers.move_to_end(key)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        asking.set_result(answer)
        return answer

    def forget(self, key: Hashable) -> None:
        """Forget an answer."""
        with self._lock:
            self._answers.pop(key, None)


class Access:
    """Recognizes users, and decides what they may see.

    ``audience``: whom their tokens must be for, default the API server. ``proxy``: the secret by which a proxy proves
    that it has authenticated a user, default none. ``prefix``: what its names of users and groups begin with here.
    """

    def __init__(
        self,
        reviews: Reviews,
        audience: str | None = None,
        proxy: str | None = None,
        prefix: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews = reviews
        self._audience = audience
        self._proxy = proxy
        self._prefix = prefix
        self._users = Remembered[User](MAX_USERS, TRUST_TIME, clock)
        self._rights = Remembered[bool](MAX_RIGHTS, TRUST_TIME, clock)
        self._lists = Remembered[frozenset[str]](MAX_LISTS, TRUST_TIME, clock)
        self._threads = ThreadPoolExecutor(REVIEWS, "reviews")

    def user_with(self, token: str, *, fresh: bool = False) -> User | None:
        """Return the user whose token it is; None if nobody's. Raises ClusterError if the API server cannot say.

        ``fresh``: ask now, also if the answer is remembered.
        """
        if not token or len(token) > MAX_TOKEN or not is_token(token):
            return None
        try:
            return self._users.get(_digest(token), lambda: self._review(token), fresh=fresh)
        except _NobodyError:
            self._users.forget(_digest(token))
            return None

    def was_known(self, token: str) -> bool:
        """Return whether a token had a user when it was last asked about, however long ago."""
        return _digest(token) in self._users

    def _review(self, token: str) -> User:
        audiences = [] if self._audience is None else [self._audience]
        status = self._reviews.review("authentication.k8s.io", "TokenReview", {"token": token, "audiences": audiences})
        if status.get("authenticated") is not True or not set(audiences) <= set(status.get("audiences") or ()):
            raise _NobodyError
        return _user(status.get("user") or {})

    def user_of_proxy(self, authorization: str, groups: str) -> User | None:
        """Return the user that a proxy names in HTTP's Basic scheme, with the proxy's secret as the password.

        ``groups``: their groups, with commas between them. None without a proxy, with another secret, or for names that
        only the API server may give.
        """
        name, secret = basic_login(authorization)
        listed = tuple(self._prefix + group for one in groups.split(",") if (group := one.strip()))
        if self._proxy is None or not hmac.compare_digest(secret.encode(), self._proxy.encode()):
            return None
        user = self._prefix + name
        if not name or len(listed) > MAX_GROUPS or not all(map(_is_allowed, (user, *listed))):
            return None
        return User(user, (*listed, "system:authenticated"))

    def may(self, user: User, verb: str, namespace: str, name: str = "", *, fresh: bool = False) -> bool:
        """Return whether a user may do something with SkymapScans of a namespace (empty: all), or with one of them.

        ``fresh``: ask now, also if the answer is remembered. Raises ClusterError if the API server cannot say.
        """
        question = (user, verb, namespace, name)
        return self._rights.get(question, lambda: self._ask(*question), fresh=fresh)

    def _ask(self, user: User, verb: str, namespace: str, name: str) -> bool:
        resource = {"group": GROUP, "resource": "skymapscans", "verb": verb, "namespace": namespace, "name": name}
        who = {"user": user.name, "groups": user.groups, "uid": user.uid, "extra": dict(user.extra)}
        spec = {"resourceAttributes": resource, **who}
        status = self._reviews.review("authorization.k8s.io", "SubjectAccessReview", spec)
        return status.get("allowed") is True and status.get("denied") is not True

    def listed(self, user: User, namespaces: Iterable[str]) -> frozenset[str]:
        """Return those of the namespaces whose scans a user may list."""
        wanted = frozenset(namespaces)
        return self._lists.get((user, wanted), lambda: self._ask_for_lists(user, wanted))

    def _ask_for_lists(self, user: User, namespaces: frozenset[str]) -> frozenset[str]:
        if self._ask(user, "list", "", ""):
            return namespaces
        allowed = self._threads.map(lambda one: self._ask(user, "list", one, ""), namespaces)
        return frozenset(one for one, may in zip(namespaces, allowed, strict=True) if may)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def basic_login(authorization: str) -> tuple[str, str]:
    """Return name and password of a header in HTTP's Basic scheme (RFC 7617); empty ones if it is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name, password


def bearer_token(authorization: str) -> str:
    """Return the token of a header in the Bearer scheme (RFC 6750); empty if it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_allowed(name: str) -> bool:
    return len(name) <= MAX_NAME and name.isprintable() and not name.lower().startswith(RESERVED)


def _user(found: dict[str, Any]) -> User:
    name, extra = str(found.get("username") or ""), found.get("extra") or {}
    if not name:
        raise _NobodyError
    return User(
        name,
        tuple(map(str, found.get("groups") or ())),
        str(found.get("uid") or ""),
        tuple((str(key), tuple(map(str, extra[key]))) for key in sorted(extra)),
    )
