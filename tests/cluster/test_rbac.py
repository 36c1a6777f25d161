"""The chart's roles grant the operator what the documentation lists, and nothing else."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.releases import Release, Values
from testing.manifests import cases
from testing.waiting import eventually
from tests.unit.operator.recipes import Manifest, everything, made

from skymap_operator.runtime.scope import lease_name, lease_of

SCANS = "skymapscans.skymap.icecube.wisc.edu"
#: Of these, the names limit only changes.
LEASES = "leases.coordination.k8s.io"
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
    "scope": "cluster",
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
    ("get", "leases.coordination.k8s.io"),
    ("patch", "leases.coordination.k8s.io"),
    ("delete", "leases.coordination.k8s.io"),
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


def rows(section: str) -> list[tuple[str, str, str]]:
    """Return resource, remark and verbs of each row of a table in the documentation."""
    text = DOCS.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z0-9./]+)`(.*?) \| ([a-z ]+) \|", text, re.MULTILINE)


def documented(namespace: str, secrets: list[str]) -> Rights:
    """Return the documented permissions: by resource, the verbs and the names that they are limited to."""
    found = {
        kind: (frozenset(verbs.split()), frozenset(secrets) if rest else frozenset())
        for kind, rest, verbs in rows("What the operator may do")
        if not rest or secrets
    }
    verbs, _ = found[LEASES]
    return found | {LEASES: (verbs, frozenset({lease_name(f"{namespace}/skymap-operator")}))}


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
        assert rights(api, account, place) == documented(namespace.name, ["skymap-pulsar"])
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
    assert rights(api, account, namespace.name) == documented(namespace.name, ["tls"])
    assert rights(api, account, ELSEWHERE) == {}
    assert not may(api, account, "list", SCANS)
    release.upgrade(limited)
    assert rights(api, account, namespace.name) == documented(namespace.name, [])


@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
def test_page_may_read_scans_and_ask_for_reviews_alone(
    api: httpx.Client, namespace: Namespace, release: Release, scope: str
) -> None:
    release.install(BARE | {"scope": scope, "page": {"enabled": True}})
    account = f"system:serviceaccount:{namespace.name}:skymap-page"
    everything_it_may = {
        kind: (frozenset(verbs.split()), frozenset[str]()) for kind, _, verbs in rows("What the page may do")
    }
    assert rights(api, account, namespace.name) == everything_it_may
    elsewhere = {kind: one for kind, one in everything_it_may.items() if scope == "cluster" or kind != SCANS}
    assert rights(api, account, ELSEWHERE) == elsewhere
    assert len(elsewhere) == (3 if scope == "cluster" else 2)


ALLOWED = {"allowedInPods": {"serviceAccountName": ["*", "!admin"]}}
LABEL = "skymap.icecube.wisc.edu/scan"


def pod_of(manifest: Manifest) -> Manifest:
    return dict(manifest["spec"]["template"]["spec"])


def in_pod(**fields: Any) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["spec"]["template"]["spec"].update(fields)


def in_container(**fields: Any) -> Callable[[Manifest], None]:
    return lambda manifest: pod_of(manifest)["containers"][0]["securityContext"].update(fields)


#: What the operator's account may not do to a Job or Deployment of a scan, and why.
EXCESSES: list[tuple[Callable[[Manifest], Any], str]] = [
    (lambda one: one["metadata"]["labels"].pop(LABEL), f"objects with the label {LABEL}"),
    (lambda one: one["metadata"].pop("ownerReferences"), "must belong to a SkymapScan"),
    (lambda one: one["spec"]["template"]["metadata"]["labels"].pop(LABEL), "must have the label"),
    (in_container(privileged=True, allowPrivilegeEscalation=True), "containers of the operator's pods"),
    (in_container(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}), "containers of the operator's pods"),
    (in_container(readOnlyRootFilesystem=False), "containers of the operator's pods"),
    (in_container(runAsUser=0), "containers of the operator's pods"),
    (lambda one: pod_of(one)["containers"][0].pop("securityContext"), "containers of the operator's pods"),
    (in_pod(securityContext={}), "level restricted"),
    (in_pod(hostNetwork=True), "network or the processes of a node"),
    (in_pod(hostPID=True, shareProcessNamespace=False), "network or the processes of a node"),
    (in_pod(nodeName="node"), "network or the processes of a node"),
    (lambda one: pod_of(one)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volumes of the operator"),
    (in_pod(automountServiceAccountToken=True), "a service account's token"),
    (in_pod(serviceAccountName="admin"), "only the service accounts"),
]


def objects_of(values: cases.Spec, namespace: str) -> list[Manifest]:
    """Return the objects of a scan as the operator creates them."""
    return [one | {"metadata": one["metadata"] | {"namespace": namespace}} for one in everything(made(values))]


def test_account_may_write_objects_of_scans_and_restricted_pods_alone(
    api: httpx.Client, namespace: Namespace, release: Release
) -> None:
    release.install(BARE | {"scope": "namespaces", "settings": ALLOWED})
    headers = {"Impersonate-User": f"system:serviceaccount:{namespace.name}:skymap-operator"}

    def create(manifest: Manifest) -> httpx.Response:
        plural = {"Job": "batch/v1", "Deployment": "apps/v1"}.get(manifest["kind"])
        root = f"/apis/{plural}" if plural else "/api/v1"
        path = f"{root}/namespaces/{namespace.name}/{manifest['kind'].lower()}s"
        return api.post(path, params={"dryRun": "All"}, json=manifest, headers=headers)

    usual = {one["kind"]: one for one in objects_of(cases.URL, namespace.name)}

    def refused(kind: str, change: Callable[[Manifest], Any]) -> str:
        changed = copy.deepcopy(usual[kind])
        change(changed)
        answer = create(changed)
        return str(answer.json()["message"]) if answer.status_code == httpx.codes.FORBIDDEN else ""

    eventually(lambda: all(refused("Job", EXCESSES[place][0]) for place in (0, 2)))  # the policies are in effect
    for change, message in EXCESSES:
        # A Deployment's selector requires the label of its pods anyway.
        for kind in ("Job",) if message == "must have the label" else ("Job", "Deployment"):
            assert message in refused(kind, change), (kind, message)
    for kind in ("ConfigMap", "PersistentVolumeClaim"):
        assert LABEL in refused(kind, EXCESSES[0][0])
    varied = [one for case in cases.ACCEPTED for one in objects_of(case.spec, namespace.name)]
    varied = [one for one in varied if one["metadata"]["name"].endswith(("-producer", "-workers"))]
    for manifest in (*objects_of(cases.URL, namespace.name), *varied):
        answer = create(manifest)
        assert answer.status_code == httpx.codes.CREATED, (manifest["kind"], answer.text)
    others = f"/api/v1/namespaces/{namespace.name}/configmaps/kube-root-ca.crt"
    eventually(lambda: api.get(others).is_success)
    taken = {**api.get(others).json(), "data": {"ca.crt": "mine"}}
    taken["metadata"] |= {"labels": {LABEL: "a"}, "ownerReferences": usual["ConfigMap"]["metadata"]["ownerReferences"]}
    answer = api.put(others, params={"dryRun": "All"}, json=taken, headers=headers)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "may change and delete only objects with the label" in answer.json()["message"]
    namespace.kubectl("create", "job", "theirs", "--image=registry.invalid/a")
    theirs = f"/apis/batch/v1/namespaces/{namespace.name}/jobs/theirs"
    assert api.delete(theirs, params={"dryRun": "All"}, headers=headers).status_code == httpx.codes.FORBIDDEN
    assert api.delete(theirs, params={"dryRun": "All"}).is_success, "only the operator's account is limited"


#: What the operator's account may not write into a Lease, and why.
FALSE_LEASES: list[tuple[Callable[[Manifest], Any], str]] = [
    (lambda one: one["metadata"].update(name="kube-scheduler"), "only Leases of the name skymap-operator-"),
    (lambda one: one["metadata"].pop("labels"), "must have its label"),
    (lambda one: one["spec"].update(holderIdentity="theirs/operator"), "name it as the holder"),
    (lambda one: one.pop("spec"), "name it as the holder"),
]


def test_account_may_write_its_own_leases_alone(api: httpx.Client, namespace: Namespace, release: Release) -> None:
    release.install(BARE | {"scope": "namespaces"})
    account = f"system:serviceaccount:{namespace.name}:skymap-operator"
    # More rights than the chart grants, so that the policy alone decides.
    namespace.kubectl("create", "role", "leases", "--verb=*", "--resource=leases")
    namespace.kubectl("create", "rolebinding", "leases", "--role=leases", f"--user={account}")
    headers, path = {"Impersonate-User": account}, f"/apis/coordination.k8s.io/v1/namespaces/{namespace.name}/leases"
    own = lease_of(f"{namespace.name}/skymap-operator", namespace.name, datetime.now(UTC))

    def refused(change: Callable[[Manifest], Any]) -> str:
        changed = copy.deepcopy(own)
        change(changed)
        answer = api.post(path, params={"dryRun": "All"}, json=changed, headers=headers)
        return str(answer.json()["message"]) if answer.status_code == httpx.codes.FORBIDDEN else ""

    eventually(lambda: refused(FALSE_LEASES[0][0]))  # the policy is in effect
    for change, message in FALSE_LEASES:
        assert message in refused(change)
    other = own | {"metadata": own["metadata"] | {"name": "theirs"}}
    api.post(path, json=other).raise_for_status()
    taken = {"spec": {"holderIdentity": own["spec"]["holderIdentity"]}}
    patch = {"Content-Type": "application/merge-patch+json"}
    for answer in (
        api.patch(f"{path}/theirs", content=json.dumps(taken), headers=headers | patch),
        api.delete(f"{path}/theirs", headers=headers),
    ):
        assert answer.status_code == httpx.codes.FORBIDDEN, answer.text
        assert "only Leases of the name" in answer.json()["message"]
    assert api.post(path, json=own, headers=headers).status_code == httpx.codes.CREATED
    mine = f"{path}/{own['metadata']['name']}"
    renewed = json.dumps({"spec": own["spec"] | {"leaseDurationSeconds": 60}})
    assert api.patch(mine, content=renewed, headers=headers | patch).is_success
    assert api.delete(mine, headers=headers).is_success


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
