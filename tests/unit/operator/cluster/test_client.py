"""Requests to the API server and its answers: objects, pages and errors. Over a real connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from testing.servers import serving

from skymap_operator.cluster import client
from skymap_operator.cluster.client import (
    Cluster,
    ClusterError,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
    connect,
)
from skymap_operator.cluster.events import LONGEST_MESSAGE

T = TypeVar("T")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": "c"}}
ABOUT = {"apiVersion": "g/v1", "kind": "SkymapScan", "metadata": {"namespace": "ns", "name": "scan", "uid": "u"}}


class Server:
    """Gives the answers in turn and keeps the requests."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        sent = await request.text()
        query = dict(request.query) | {"type": request.content_type}
        self.asked.append((request.method, request.path, query, json.loads(sent) if sent else None))
        code, body = self.answers.pop(0)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=code, text=text, headers=self.headers)

    def run(self, question: Callable[[Cluster], Awaitable[T]]) -> T:
        async def inside() -> T:
            async with serving(self.answer) as url, connected(url) as cluster:
                return await question(cluster)

        return asyncio.run(inside())


def connected(url: str) -> Cluster:
    configuration = Configuration()
    configuration.host = url
    return Cluster(ApiClient(configuration))


def warning(uid: str) -> dict[str, Any]:
    return {"involvedObject": {"uid": uid}, "message": "no room"}


def status(message: str, *causes: dict[str, str]) -> dict[str, Any]:
    return {"kind": "Status", "message": message, "details": {"causes": list(causes)}}


@pytest.mark.parametrize(
    ("code", "body", "error"),
    [
        (404, status("no such kind"), NotFound),
        (409, status("the object has been modified"), Conflict),
        (403, status("exceeded quota: small"), Refused),
        (422, status("spec.x: Invalid value", {"field": "spec.x", "message": "too small"}), Invalid),
        (422, status("ValidatingAdmissionPolicy 'p' denied request: no", {"message": "no"}), Refused),
        (422, {"message": "a webhook denied the request", "details": None}, Refused),
        (413, status("Request entity too large: limit is 3145728"), Invalid),
        (400, status('admission webhook "w" denied the request'), Refused),
        (401, status("Unauthorized"), Unavailable),
        (429, status("Too many requests"), Unavailable),
        (500, status("etcd"), Unavailable),
        (500, status('Internal error occurred: failed calling webhook "w": connection refused'), Refused),
        (500, status('Internal error occurred: failed calling admission webhook "w": no route'), Refused),
        (503, "<html>proxy\n down</html>", Unavailable),
    ],
)
def test_status_code_selects_the_error(code: int, body: Any, error: type[ClusterError]) -> None:
    server = Server((code, body))
    with pytest.raises(ClusterError) as caught:
        server.run(lambda cluster: cluster.patch("Job", "ns", "j", {}))
    assert type(caught.value) is error
    assert (body["message"] if isinstance(body, dict) else "<html>proxy down</html>") in str(caught.value)


def test_unreachable_server_is_unavailable() -> None:
    async def ask() -> None:
        async with connected("http://127.0.0.1:9") as cluster:
            await cluster.get("Pod", "ns", "p")

    with pytest.raises(Unavailable, match="cannot reach the API server"):
        asyncio.run(ask())


def test_time_is_that_of_the_answers() -> None:
    date = "Thu, 01 Jan 2015 00:00:00 GMT"

    async def ask(cluster: Cluster) -> float:
        assert abs(cluster.now().timestamp() - time.time()) < 60
        await cluster.get("Pod", "ns", "p")
        return cluster.now().timestamp()

    server = Server((404, status("gone")))
    server.headers = {"Date": date}
    assert abs(server.run(ask) - parsedate_to_datetime(date).timestamp()) < 60


def test_missing_object_is_none_and_deleting_it_succeeds() -> None:
    server = Server((404, status("gone")), (404, status("gone")))
    assert server.run(lambda cluster: cluster.get("Pod", "ns", "p")) is None
    server.run(lambda cluster: cluster.delete("Pod", "ns", "p", uid="u", grace=5))
    assert server.asked[0][:2] == ("GET", "/api/v1/namespaces/ns/pods/p")
    options = server.asked[1][3]
    assert (options["preconditions"], options["gracePeriodSeconds"]) == ({"uid": "u"}, 5)
    assert options["propagationPolicy"] == "Background"


def test_list_is_read_to_its_last_page() -> None:
    pages = [{"items": [1, 2], "metadata": {"continue": "more"}}, {"items": [3], "metadata": {}}]
    server = Server(*((200, page) for page in pages))
    assert server.run(lambda cluster: cluster.list("SkymapScan", labels="a=b")) == [1, 2, 3]
    assert server.asked[0][1] == "/apis/skymap.icecube.wisc.edu/v1alpha1/skymapscans"
    assert [asked[2].get("continue") for asked in server.asked] == [None, "more"]
    assert {asked[2]["labelSelector"] for asked in server.asked} == {"a=b"}


def test_empty_list_of_metadata_has_no_items() -> None:
    server = Server((200, {"items": None, "metadata": {"resourceVersion": "7"}}))
    assert server.run(lambda cluster: cluster.list("ConfigMap", metadata_only=True)) == []


def test_page_that_is_too_long_is_requested_with_fewer_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_BYTES", 1000)
    large = {"items": ["x" * 2000], "metadata": {}}
    first, second = {"items": [1], "metadata": {"continue": "more"}}, {"items": [2], "metadata": {}}
    server = Server((200, large), (200, large), (200, first), (200, second))
    assert server.run(lambda cluster: cluster.list("ConfigMap", keep=lambda found: {"kept": found})) == [
        {"kept": 1},
        {"kept": 2},
    ]
    assert [asked[2]["limit"] for asked in server.asked] == ["500", "62", "7", "14"]
    assert [asked[2].get("continue") for asked in server.asked] == [None, None, None, "more"]
    server = Server(*[(200, large)] * 4)
    with pytest.raises(Unavailable, match="configmaps: an object is longer than 1000 bytes"):
        server.run(lambda cluster: cluster.list("ConfigMap"))
    assert server.answers == []


def test_warnings_are_listed_by_the_uid_of_their_object() -> None:
    first, second, other = warning("u"), warning("u"), warning("w")
    server = Server((200, {"items": [first | {"count": 3}, second, other], "metadata": {}}))
    assert server.run(lambda cluster: cluster.warnings("ns")) == {"u": [first, second], "w": [other]}
    assert server.asked[0][2]["fieldSelector"] == "type=Warning"


def test_dry_run_validates_strictly_and_creates_nothing() -> None:
    server = Server((200, CONFIG))
    server.run(lambda cluster: cluster.dry_run(CONFIG))
    assert server.asked[0][0] == "POST"
    assert (server.asked[0][2]["dryRun"], server.asked[0][2]["fieldValidation"]) == ("All", "Strict")


def test_writes_send_the_expected_requests() -> None:
    server = Server(*[(200, {})] * 3)
    server.run(lambda cluster: cluster.create(CONFIG))
    server.run(lambda cluster: cluster.replace(CONFIG, "7"))
    server.run(lambda cluster: cluster.apply_status(ABOUT | {"status": {"phase": "Pending"}}))
    made, replaced, applied = server.asked
    assert (made[0], made[1], made[3]) == ("POST", "/api/v1/namespaces/ns/configmaps", CONFIG)
    assert (replaced[0], replaced[1]) == ("PUT", "/api/v1/namespaces/ns/configmaps/c")
    assert replaced[3]["metadata"]["resourceVersion"] == "7"
    assert applied[:2] == ("PATCH", "/apis/skymap.icecube.wisc.edu/v1alpha1/namespaces/ns/skymapscans/scan/status")
    assert (applied[2]["type"], applied[2]["force"]) == ("application/apply-patch+yaml", "true")


def test_object_that_may_not_be_read_is_created_or_replaced() -> None:
    server = Server((201, {}), (409, status("exists")), (200, {}))
    for _ in range(2):
        server.run(lambda cluster: cluster.put(CONFIG))
    collection, one = "/api/v1/namespaces/ns/configmaps", "/api/v1/namespaces/ns/configmaps/c"
    assert [(method, path) for method, path, *_ in server.asked] == [
        ("POST", collection),
        ("POST", collection),
        ("PUT", one),
    ]
    assert "resourceVersion" not in server.asked[2][3]["metadata"]


def test_equal_event_raises_the_count() -> None:
    server = Server((200, {}), (409, status("exists")), (200, {"count": 4}), (200, {}))
    for _ in range(2):
        server.run(lambda cluster: cluster.record(ABOUT, "Warning", "ImageUnavailable", "x" * 5000))
    first, second, _, counted = server.asked
    assert first[3]["metadata"]["name"] == second[3]["metadata"]["name"]
    assert len(first[3]["message"]) == LONGEST_MESSAGE
    assert (counted[0], counted[3]["count"]) == ("PATCH", 5)


def test_missing_access_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(ClusterError, match="no access to a cluster"):
        asyncio.run(connect())
