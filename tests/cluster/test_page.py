"""The page of a cluster's scans with a real API server: it decides who somebody is and what he may see."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import yaml
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import QUICK, manifest
from testing.cluster.users import GROUP, Permissions, account_with
from testing.waiting import eventually

SEES: Permissions = [([GROUP], ["skymapscans"], ["get", "list"])]
#: Another audience than that of the API server.
AUDIENCE = "skymap-page"


@pytest.fixture
def other(cluster: Cluster) -> Iterator[Namespace]:
    """Another namespace of scans."""
    name = f"test-{uuid4().hex[:12]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def account_of_page(namespace: Namespace, folder: Path) -> dict[str, str]:
    """Make an account with the permissions of the page; write its files, and return the variables of a pod."""
    rules = [
        {"apiGroups": [GROUP], "resources": ["skymapscans"], "verbs": ["list", "watch"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]
    rbac, name = "rbac.authorization.k8s.io", f"{namespace.name}:page"
    namespace.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "page"}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "page", "namespace": namespace.name}],
        },
    )
    [cluster] = yaml.safe_load(namespace.kubectl("config", "view", "--raw", "-o", "yaml"))["clusters"]
    (folder / "token").write_text(namespace.kubectl("create", "token", "page"))
    (folder / "ca.crt").write_bytes(base64.b64decode(cluster["cluster"]["certificate-authority-data"]))
    server = urlsplit(cluster["cluster"]["server"])
    return {"KUBERNETES_SERVICE_HOST": server.hostname or "", "KUBERNETES_SERVICE_PORT": str(server.port)}


@dataclass
class PageProcess:
    """A running page; ``namespace`` has its account."""

    url: str
    namespace: Namespace

    def get(self, path: str = "/", token: str = "") -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=30)


@pytest.fixture
def page(
    request: pytest.FixtureRequest, definition: None, namespace: Namespace, tmp_path: Path
) -> Iterator[PageProcess]:
    """The page of all scans of the cluster, outside of it, with an account in it and, by parameter, more options."""
    folder = tmp_path / "account"
    folder.mkdir()
    environment = os.environ | account_of_page(namespace, folder)
    options = ["--account", folder, "--host", "127.0.0.1", "--port", "0", "-b", f"sqlite:///{tmp_path}/none.sqlite"]
    options += getattr(request, "param", [])
    command = [sys.executable, "-P", "-m", "skymap_scanner", "cluster-page", *map(str, options)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://127.0.0.1:\d+", process.stderr.readline())
        assert found
        made = PageProcess(found[0], namespace)
        eventually(lambda: made.get("/readyz").status_code, lambda status: status == httpx.codes.OK)
        yield made
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        for kind in ("clusterrole", "clusterrolebinding"):
            namespace.cluster.kubectl("delete", kind, f"{namespace.name}:page", "--ignore-not-found")
    assert "Traceback" not in log


def user(namespace: Namespace, name: str, permissions: Permissions, folder: Path, *words: str) -> str:
    """Make an account with permissions in its namespace; return a token of it."""
    account_with(namespace, name, permissions, folder / f"{namespace.name}-{name}")
    return namespace.kubectl("create", "token", name, *words).strip()


def test_users_see_the_scans_of_their_namespaces_alone(
    page: PageProcess, namespace: Namespace, other: Namespace, tmp_path: Path
) -> None:
    scan = QUICK | {"event": {"simulate": {}}}
    namespace.apply(manifest(scan, "first"))
    other.apply(manifest(scan, "second"))
    ada, bob = (user(place, name, SEES, tmp_path) for place, name in ((namespace, "ada"), (other, "bob")))
    first, second = f"{namespace.name}/first", f"{other.name}/second"
    for token, own, hidden in ((ada, first, second), (bob, second, first)):
        eventually(lambda token=token, own=own: own in page.get("/", token).text)  # type: ignore[misc]
        assert hidden not in page.get("/", token).text
        assert page.get(f"/scans/{own.replace('/', '.')}/", token).status_code == httpx.codes.OK
        for what in ("", "events", "report"):
            assert page.get(f"/scans/{hidden.replace('/', '.')}/{what}", token).status_code == httpx.codes.NOT_FOUND

    nobody = user(namespace, "nobody", [([""], ["pods"], ["get"])], tmp_path)
    assert first not in page.get("/", nobody).text
    lister = user(namespace, "lister", [([GROUP], ["skymapscans"], ["list"])], tmp_path)
    assert first in page.get("/", lister).text
    assert page.get(f"/scans/{namespace.name}.first/", lister).status_code == httpx.codes.NOT_FOUND

    namespace.kubectl("delete", "sms", "first")
    eventually(lambda: first not in page.get("/", ada).text)


def test_only_valid_tokens_for_the_api_server_are_accepted(
    page: PageProcess, namespace: Namespace, tmp_path: Path
) -> None:
    token = user(namespace, "ada", SEES, tmp_path)
    assert page.get("/", token).status_code == httpx.codes.OK
    head, body, signature = token.split(".")
    forged = f"{head}.{body}.{signature[:-6]}AAAAAA"
    elsewhere = namespace.kubectl("create", "token", "ada", "--audience", AUDIENCE).strip()
    for wrong in ("", "wrong", forged, elsewhere):
        assert page.get("/", wrong).status_code == httpx.codes.UNAUTHORIZED
    namespace.kubectl("delete", "serviceaccount", "ada")
    eventually(lambda: page.get("/", token).status_code, lambda status: status == httpx.codes.UNAUTHORIZED, within=90)


@pytest.mark.parametrize("page", [["--audience", AUDIENCE]], indirect=True)
def test_page_with_an_audience_takes_no_token_for_the_api_server(
    page: PageProcess, namespace: Namespace, tmp_path: Path
) -> None:
    token = user(namespace, "ada", SEES, tmp_path)
    assert page.get("/", token).status_code == httpx.codes.UNAUTHORIZED
    limited = namespace.kubectl("create", "token", "ada", "--audience", AUDIENCE).strip()
    namespace.apply(manifest(QUICK | {"event": {"simulate": {}}}, "first"))
    eventually(lambda: f"{namespace.name}/first" in page.get("/", limited).text)
