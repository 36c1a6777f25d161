"""The chart's roles grant the operator what the documentation lists, and nothing else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.releases import Release, Values
from testing.waiting import eventually

SCANS = "skymapscans.skymap.icecube.wisc.edu"
#: A namespace without an operator.
ELSEWHERE = "default"

DOCS = Path(__file__).parents[2] / "docs/reference/permissions.md"
EXTERNAL: Values = {
    "evaluation": False,
    "serviceUrl": "pulsar://pulsar.invalid:6650",
    "adminUrl": "http://pulsar.invalid:8080",
}

#: Only the roles matter: none of the pods can start.
BARE: Values = {
    "pulsar": EXTERNAL,
    "crds": {"install": False},
    "operator": {"image": {"repository": "registry.invalid/operator"}},
}

#: (verb, resource) that the operator may never do.
REFUSED = [
    ("get", "secrets"),
    ("get", "secrets/another"),
    ("list", "secrets"),
    ("create", "secrets"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("get", "pods/log"),
    ("create", "pods/eviction"),
    ("delete", "persistentvolumeclaims"),
    ("delete", "configmaps"),
    ("get", "pods"),
    ("update", "jobs.batch"),
    ("create", "cronjobs.batch"),
    ("create", "daemonsets.apps"),
    ("create", "skymapscans.skymap.icecube.wisc.edu"),
    ("update", "skymapscans.skymap.icecube.wisc.edu"),
    ("delete", "events"),
    ("get", "serviceaccounts"),
    ("create", "serviceaccounts/token"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
    ("get", "services"),
]
REFUSED_IN_THE_CLUSTER = [
    ("get", "nodes"),
    ("list", "namespaces"),
    ("get", "persistentvolumes"),
    ("create", "clusterroles.rbac.authorization.k8s.io"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("get", "customresourcedefinitions.apiextensions.k8s.io"),
    ("create", "tokenreviews.authentication.k8s.io"),
]

Rights = dict[str, tuple[frozenset[str], frozenset[str]]]


def documented(secrets: list[str]) -> Rights:
    """Return the documented permissions: by resource, the verbs and the names that they are limited to."""
    rows = re.findall(
        r"^\| `([a-z./]+)`(.*?) \| ([a-z ]+) \|",
        DOCS.read_text().partition("## What the operator may")[2],
        re.MULTILINE,
    )
    return {
        kind: (frozenset(verbs.split()), frozenset(secrets) if rest else frozenset())
        for kind, rest, verbs in rows
        if not rest or secrets
    }


def rights(api: httpx.Client, account: str, namespace: str) -> Rights:
    """Return what an account may do in a namespace, without what every account may ask about itself."""
    path, spec = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"namespace": namespace}
    headers = {"Impersonate-User": account, "Impersonate-Group": "system:authenticated"}
    answer = api.post(path, json={"spec": spec}, headers=headers).raise_for_status().json()
    found: Rights = {}
    for rule in answer["status"]["resourceRules"]:
        for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
            plural, slash, part = resource.partition("/")
            kind = (f"{plural}.{group}" if group else plural) + slash + part
            if not kind.startswith("selfsubject"):
                verbs, names = found.get(kind, (frozenset(), frozenset()))
                found[kind] = (verbs | set(rule["verbs"]), names | set(rule.get("resourceNames", ())))
    return found


def may(api: httpx.Client, user: str, verb: str, resource: str, namespace: str = "") -> bool:
    """Return whether a user may do something to ``RESOURCE.GROUP/PART`` or ``secrets/NAME``; by default everywhere."""
    kind, _, part = resource.partition("/")
    plural, _, group = kind.partition(".")
    named = {"name": part} if kind == "secrets" else {"subresource": part}
    asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace, **named}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = api.post(path, json={"spec": {"user": user, "resourceAttributes": asked}}).raise_for_status().json()
    return bool(answer["status"]["allowed"])


@pytest.fixture
def release(cluster: Cluster, namespace: Namespace) -> Iterator[Release]:
    """A release to install; none of its pods need run."""
    made = Release(cluster, namespace.name)
    yield made
    made.uninstall("--no-hooks")


def test_cluster_role_grants_exactly_the_documented_permissions(
    api: httpx.Client, namespace: Namespace, release: Release
) -> None:
    release.install(BARE)
    account = f"system:serviceaccount:{namespace.name}:skymap-operator"
    for place in (namespace.name, ELSEWHERE):
        assert rights(api, account, place) == documented(["skymap-pulsar"])
    assert may(api, account, "watch", SCANS), "it watches the whole cluster"
    assert may(api, account, "get", "secrets/skymap-pulsar", ELSEWHERE)
    for verb, resource in REFUSED:
        assert not may(api, account, verb, resource, namespace.name), (verb, resource)
    for verb, resource in REFUSED_IN_THE_CLUSTER:
        assert not may(api, account, verb, resource), (verb, resource)


def test_namespaced_role_grants_nothing_elsewhere(api: httpx.Client, namespace: Namespace, release: Release) -> None:
    limited = BARE | {"scope": "namespaces", "rbac": {"secretNames": []}}
    release.install(limited | {"pulsar": EXTERNAL | {"tlsSecret": "tls"}})
    account = f"system:serviceaccount:{namespace.name}:skymap-operator"
    assert rights(api, account, namespace.name) == documented(["tls"])
    assert rights(api, account, ELSEWHERE) == {}
    assert not may(api, account, "list", SCANS)
    release.upgrade(limited)
    assert rights(api, account, namespace.name) == documented([])


def test_view_and_edit_roles_include_scans(api: httpx.Client, namespace: Namespace, release: Release) -> None:
    release.install(BARE)
    for role in ("view", "edit"):
        namespace.kubectl("create", "rolebinding", f"{role}s", f"--clusterrole={role}", f"--user={role}")
    asked = {
        ("view", "list", SCANS): True,
        ("view", "get", f"{SCANS}/status"): True,
        ("view", "create", SCANS): False,
        ("edit", "watch", SCANS): True,
        ("edit", "create", SCANS): True,
        ("edit", "patch", f"{SCANS}/scale"): True,
        ("edit", "deletecollection", SCANS): True,
        ("edit", "patch", f"{SCANS}/status"): False,
    }
    # The cluster aggregates the chart's roles a moment later.
    eventually(lambda: {one: may(api, *one, namespace.name) for one in asked}, lambda found: found == asked)
