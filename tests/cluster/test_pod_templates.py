"""What a site asks of pods, on a real cluster with a real Pulsar: every role gets it, and scans only what is allowed.

The image of the pods does not exist, so that none of them runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from testing.cluster import scans
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.operators import OperatorProcess
from testing.cluster.scans import NAME, Start, children, complete, degraded
from testing.waiting import eventually

from skymap_api.names import COMPONENT_LABEL

SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}], "workers": {"min": 1, "max": 1}}
TOLERATIONS = [{"key": "dedicated", "operator": "Equal", "value": "tests", "effect": "NoSchedule"}]
ROLES = {"producer", "collector", "saver", "worker"}


@pytest.fixture
def tainted(cluster: Cluster) -> Iterator[None]:
    """A cluster whose nodes all have a taint."""
    cluster.kubectl("taint", "nodes", "--all", "dedicated=tests:NoSchedule")
    yield
    cluster.kubectl("taint", "nodes", "--all", "dedicated-")


def placed(namespace: Namespace) -> set[str]:
    """Return the roles that have a pod on a node."""
    pods = namespace.get("pods")["items"]
    return {pod["metadata"]["labels"][COMPONENT_LABEL] for pod in pods if pod["spec"].get("nodeName")}


def by_the_scan(namespace: Namespace, _: OperatorProcess, __: Start) -> None:
    change = json.dumps({"spec": {"podTemplate": {"tolerations": TOLERATIONS}}})
    namespace.kubectl("patch", "sms", NAME, "--type", "merge", "-p", change)


def by_the_chart(_: Namespace, operator: OperatorProcess, operators: Start) -> None:
    operator.end()
    operators(POD_TEMPLATE=json.dumps({"tolerations": TOLERATIONS}))


@pytest.mark.usefixtures("tainted")
@pytest.mark.parametrize("tolerate", [by_the_scan, by_the_chart])
def test_pods_of_all_roles_tolerate_what_they_are_told_to(
    operators: Start, namespace: Namespace, tolerate: Callable[[Namespace, OperatorProcess, Start], None]
) -> None:
    operator = operators()
    namespace.apply(scans.manifest(SPEC, NAME))
    assert "tolerations of them to podTemplate" in degraded(namespace, "Unschedulable")
    assert placed(namespace) == set()
    tolerate(namespace, operator, operators)
    eventually(lambda: placed(namespace), lambda found: found == ROLES)
    degraded(namespace, "ImageUnavailable")


def test_scan_that_asks_too_much_waits_for_its_correction(
    operators: Start, namespace: Namespace, submitter: Namespace
) -> None:
    operators()
    asked = {
        "labels": {"sidecar.example.org/inject": "true"},
        "annotations": {"cni.example.org/host-network": "true"},
        "serviceAccountName": "default",
        "securityContext": {"runAsUser": 7},
    }
    scan = scans.manifest(SPEC | {"podTemplate": asked, "priority": "Realtime"}, NAME)
    submitter.kubectl("create", "-f", "-", stdin=json.dumps(scan))
    message = degraded(submitter, "NotAllowed")
    assert f"priority (Realtime in the namespace {namespace.name})" in message
    assert "podTemplate.labels (sidecar.example.org/inject)" in message
    assert "podTemplate.annotations (cni.example.org/host-network)" in message
    assert "podTemplate.serviceAccountName (default)" in message
    assert "podTemplate.securityContext.runAsUser (7)" in message
    assert children(namespace) == {}
    corrected = json.dumps({"spec": {"podTemplate": None, "priority": "Normal"}})
    namespace.kubectl("patch", "sms", NAME, "--type", "merge", "-p", corrected)
    complete(namespace)


def test_ids_are_left_to_the_namespace(operators: Start, restricted: Namespace) -> None:
    """As on OpenShift, whose admission sets them; the `restricted` level accepts pods without."""
    operators(POD_TEMPLATE="{}")
    restricted.apply(scans.manifest(SPEC, NAME))
    eventually(lambda: placed(restricted), lambda found: found == ROLES)
    for pod in restricted.get("pods")["items"]:
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["spec"]["securityContext"])
