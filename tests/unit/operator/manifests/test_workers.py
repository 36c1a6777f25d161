"""The Deployment of workers."""

from __future__ import annotations

import pytest
from tests.unit.operator.recipes import FULL, LOST_NODE, URL, Manifest, labels, made, metadata, template, unsigned
from tests.unit.operator.world import SETTINGS

from skymap_api.resource.pods import PodTemplate
from skymap_operator import manifests


def test_workers_deployment_is_complete() -> None:
    arguments = ["worker", "-n", "alerts.alert"]
    arguments += ["-t", "persistent://icecube/skymap/to_be_scanned", "-s", "persistent://icecube/skymap/scanned"]
    arguments += ["--max-attempts", "10", "--max-task-seconds", "600.0"]
    assert unsigned(manifests.workers(made(URL), 3)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("alert-workers", "worker"),
        "spec": {
            "replicas": 3,
            "revisionHistoryLimit": 1,
            "selector": {
                "matchLabels": {
                    "skymap.icecube.wisc.edu/scan": "alert",
                    "app.kubernetes.io/component": "worker",
                }
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
            "template": template(
                "worker",
                arguments,
                volumes=[{"name": "state", "emptyDir": {"sizeLimit": "1Gi"}}],
                mounts=[{"name": "state", "mountPath": "/state"}],
                env=[{"name": "SKYMAP_STATE", "value": "/state"}],
                resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                restart="Always",
                grace=630,
                minutes=12,
            ),
        },
    }


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}, LOST_NODE[:1]),
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}, LOST_NODE),
        # A pod that tolerates everything for ever would count as running on a node that is lost.
        ({"operator": "Exists"}, LOST_NODE),
    ],
)
def test_only_a_toleration_of_the_same_taint_replaces_ours(given: Manifest, ours: list[Manifest]) -> None:
    spec = URL | {"workers": {"podTemplate": {"tolerations": [given]}}}
    assert manifests.workers(made(spec), 0)["spec"]["template"]["spec"]["tolerations"] == [*ours, given]


def test_pod_template_is_merged_into_the_workers() -> None:
    site = PodTemplate.model_validate({"imagePullSecrets": [{"name": "ours"}, {"name": "registry"}]})
    settings = SETTINGS.model_copy(update={"pod_template": site})
    found = manifests.workers(made(FULL, settings), 0)["spec"]["template"]
    assert found["metadata"]["labels"] == labels("worker") | {"team": "realtime"}
    assert found["metadata"]["annotations"]["example.org/contact"] == "shift@example.org"
    pod = found["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [
        *LOST_NODE,
        {"key": "dedicated", "operator": "Equal", "value": "science", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoSchedule"},
    ]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("realtime", "skymap-worker")
    assert pod["imagePullSecrets"] == [{"name": "ours"}, {"name": "registry"}]
    assert pod["affinity"] == FULL["workers"]["podTemplate"]["affinity"]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert pod["automountServiceAccountToken"] is False
