from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from tests.unit.operator import cases
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, START, walk

from skymap_operator import manifests
from skymap_operator.manifests.common import Recipe
from skymap_operator.manifests.jobs import producer_arguments
from skymap_operator.models import SkymapScan, SkymapScanSpec
from skymap_operator.models.status import RunsWith, SkymapScanStatus
from skymap_operator.observed import Scan
from skymap_operator.resolve import pulsar_access, recipe, runs_with
from skymap_operator.settings import Settings

Manifest = dict[str, Any]
URL = {"event": {"url": "https://example.org/event.json"}}
EXAMPLES = Path(__file__).parents[3] / "examples"
FULL = yaml.safe_load((EXAMPLES / "scan-full.yaml").read_text())["spec"]
HASH = "skymap.icecube.wisc.edu/content"


def spec_of(values: Manifest) -> SkymapScanSpec:
    return SkymapScan.model_validate(cases.manifest(values)).spec


def scan(values: Manifest, status: SkymapScanStatus | None = None) -> Scan:
    return Scan(NAMESPACE, NAME, "uid-1", 1, START, False, (), spec_of(values), status or SkymapScanStatus())


def made(values: Manifest, settings: Settings = SETTINGS, tls_keys: frozenset[str] = frozenset()) -> Recipe:
    return recipe(scan(values), spec_of(values), settings, tls_keys)


def unsigned(manifest: Manifest) -> Manifest:
    """Without the digest, after a look at its form."""
    manifest = copy.deepcopy(manifest)
    digest = manifest["metadata"]["annotations"].pop(HASH)
    assert len(digest) == 16
    return manifest


def everything(recipe: Recipe) -> list[Manifest]:
    claim = manifests.claim(recipe)
    workers = manifests.workers(recipe, 3)
    return [manifests.config_map(recipe), *manifests.jobs(recipe).values(), workers, *([claim] if claim else [])]


def pods(recipe: Recipe) -> dict[str, Manifest]:
    found = manifests.jobs(recipe) | {"worker": manifests.workers(recipe, 3)}
    return {role: one["spec"]["template"]["spec"] for role, one in found.items()}


def labels(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "skymap-scanner",
        "app.kubernetes.io/instance": "alert",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "skymap-operator",
        "skymap.icecube.wisc.edu/scan": "alert",
    }


def metadata(name: str, component: str) -> Manifest:
    return {
        "name": name,
        "namespace": "alerts",
        "labels": labels(component),
        "annotations": {"skymap.icecube.wisc.edu/scan-name": "alert"},
        "ownerReferences": [
            {
                "apiVersion": "skymap.icecube.wisc.edu/v1alpha1",
                "kind": "SkymapScan",
                "name": "alert",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def alive(minutes: int) -> str:
    return f'test ! -e /tmp/alive || test -n "$(find /tmp/alive -mmin -{minutes})"'


#: A pod whose node is lost is replaced after half a minute.
LOST_NODE = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    for taint in ("not-ready", "unreachable")
]


def template(role: str, arguments: list[str], **more: Any) -> Manifest:
    """A pod template as the scan above wants it; ``more``: volumes, mounts, env, restart, grace, resources, minutes."""
    volumes = more.get("volumes", [])
    return {
        "metadata": {
            "labels": labels(role),
            "annotations": {"skymap.icecube.wisc.edu/scan-name": "alert"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": role,
                    "image": "registry.example/scanner:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                    "env": [
                        {"name": "HOME", "value": "/tmp"},  # noqa: S108
                        *(
                            {"name": variable, "valueFrom": {"configMapKeyRef": {"name": "alert-scan", "key": key}}}
                            for variable, key in (("SKYMAP_BROKER", "broker"), ("SKYMAP_ADMIN_URL", "admin-url"))
                        ),
                        *more.get("env", []),
                        {"name": "SKYMAP_ALIVE", "value": "/tmp/alive"},  # noqa: S108
                    ],
                    "livenessProbe": {
                        "exec": {"command": ["sh", "-c", alive(more.get("minutes", 1))]},
                        "periodSeconds": 30,
                        "timeoutSeconds": 30,
                        "failureThreshold": 2,
                        "terminationGracePeriodSeconds": 5,
                    },
                    "resources": more["resources"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "privileged": False,
                        "readOnlyRootFilesystem": True,
                    },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *more.get("mounts", [])],  # noqa: S108
                }
            ],
            "enableServiceLinks": False,
            "restartPolicy": more["restart"],
            "securityContext": {
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsGroup": 1000,
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": more["grace"],
            "tolerations": LOST_NODE,
            "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
        },
    }


ROLE = {
    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    "restart": "Never",
    "grace": 30,
}


def test_the_saver_as_a_whole() -> None:
    arguments = ["saver", "-n", "alerts.alert"]
    arguments += ["-c", "persistent://icecube/skymap/collected", "-t", "persistent://icecube/skymap/to_be_scanned"]
    arguments += ["-o", "/results/alert/{stem}.i3.zst"]
    assert unsigned(manifests.jobs(made(URL))["saver"]) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("alert-saver", "saver"),
        "spec": {
            "backoffLimit": 5,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75, 130, 143]}},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
                ]
            },
            "podReplacementPolicy": "Failed",
            "suspend": False,
            "template": template(
                "saver",
                arguments,
                volumes=[{"name": "results", "persistentVolumeClaim": {"claimName": "alert-results"}}],
                mounts=[{"name": "results", "mountPath": "/results"}],
                **ROLE,
            ),
        },
    }


def test_the_workers_as_a_whole() -> None:
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
                volumes=[{"name": "state", "emptyDir": {}}],
                mounts=[{"name": "state", "mountPath": "/state"}],
                env=[{"name": "SKYMAP_STATE", "value": "/state"}],
                resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                restart="Always",
                grace=630,
                minutes=12,
            ),
        },
    }


def test_the_config_map_and_the_claim_as_a_whole() -> None:
    config = unsigned(manifests.config_map(made(URL)))
    assert SkymapScan.model_validate(yaml.safe_load(config["data"].pop("scan.yaml"))).spec == spec_of(URL)
    assert config == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata("alert-scan", "scan"),
        "data": {"broker": "pulsar://pulsar:6650", "admin-url": "http://pulsar:8080"},
    }
    claim = manifests.claim(made(URL | {"output": {"claim": {"storageClassName": "fast"}}}))
    assert claim is not None
    meta = metadata("alert-results", "results")
    del meta["ownerReferences"]  # it outlives the scan
    assert unsigned(claim) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta,
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}},
            "storageClassName": "fast",
        },
    }
    assert manifests.claim(made(URL | {"output": {"claim": {"name": "mine"}}})) is None


def test_the_producer_is_told_everything_that_decides_the_map() -> None:
    topics = ["-t", "to_be_scanned", "-c", "collected"]
    named = [word if word.startswith("-") else f"persistent://icecube/skymap/{word}" for word in topics]
    assert producer_arguments(made(FULL | {"reconstruction": {"name": "dummy", "parameters": {"a": 1, "b": "x"}}})) == [
        "producer",
        "https://live.example.org/events/138632-31747601.json",
        *("-n", "alerts.alert", "--auth-token", "/pulsar/token/token"),
        *(*named, "-m", "persistent://icecube/skymap_metadata/mf_"),
        *("--levels", "8:0 64:12 512:24", "--seeds", "7", "--predictive", "0.9", "--reconstruction", "dummy"),
        *("--parameter", "a=1", "--parameter", 'b="x"', "--area", "1,4,400", "--pulses", "SplitInIcePulses"),
    ]
    more = {"pixels": [7, 3, 7], "output": {"keepAllSeeds": True}, "event": URL["event"] | {"select": "1/2"}}
    assert producer_arguments(made(more))[-5:] == ["--pixel-list", "3,7", "--select", "1/2", "--keep-all-seeds"]


@pytest.mark.parametrize(
    ("event", "argument", "volume"),
    [
        (
            {"configMap": {"name": "events", "key": "a.json"}},
            "/event/a.json",
            {"name": "event", "configMap": {"name": "events"}},
        ),
        (
            {"persistentVolumeClaim": {"claimName": "disk", "path": "x/e.i3"}},
            "/event/x/e.i3",
            {"name": "event", "persistentVolumeClaim": {"claimName": "disk"}},
        ),
        ({"simulate": {"dec": -5.5}}, "/event/event.i3.zst", {"name": "event", "emptyDir": {}}),
        (
            {"url": "https://example.org/e", "credentialsSecret": {"name": "live"}},
            "https://example.org/e",
            {"name": "event-credentials", "secret": {"secretName": "live"}},
        ),
    ],
)
def test_where_the_event_comes_from(event: Manifest, argument: str, volume: Manifest) -> None:
    pod = pods(made({"event": event}))["producer"]
    assert pod["containers"][0]["args"][:2] == ["producer", argument]
    assert volume in pod["volumes"]
    if "simulate" in event:
        [first] = pod["initContainers"]
        words = ["simulate", "/event/event.i3.zst", "--topology", "track", "--energy", "100000.0", "--seed", "0"]
        assert first["args"] == [*words, "--dec=-5.5"]
        assert first["securityContext"] == pod["containers"][0]["securityContext"]
    else:
        assert "initContainers" not in pod


def test_credentials_are_references_only() -> None:
    producer = pods(made(FULL))["producer"]
    env = {one["name"]: one.get("valueFrom") for one in producer["containers"][0]["env"]}
    assert env["SKYMAP_EVENT_USER"] == {"secretKeyRef": {"name": "i3live", "key": "username", "optional": True}}
    assert env["SKYMAP_EVENT_PASSWORD"] == {"secretKeyRef": {"name": "i3live", "key": "password", "optional": True}}
    assert env["SKYMAP_EVENT_TOKEN"] == {"secretKeyRef": {"name": "i3live", "key": "token", "optional": True}}
    for role in ("collector", "saver", "worker"):  # nobody else can get at the event
        assert "i3live" not in set(walk(pods(made(FULL))[role]))


def test_the_producer_alone_is_told_where_a_url_may_lead() -> None:
    def told(spec: Manifest) -> dict[str, str]:
        return {
            role: one["value"]
            for role, pod in pods(made(spec)).items()
            for one in pod["containers"][0]["env"]
            if one["name"] == "SKYMAP_EVENT_ADDRESSES"
        }

    assert told({"event": {"url": "https://example.org/e"}}) == {"producer": "public"}
    assert told({"event": {"simulate": {}}}) == {}


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (set(), []),
        ({"ca.crt"}, ["--tls-trust-certs", "/pulsar/tls/ca.crt"]),
        (
            {"tls.crt", "tls.key", "other"},
            ["--tls-certificate", "/pulsar/tls/tls.crt", "--tls-key", "/pulsar/tls/tls.key"],
        ),
    ],
)
def test_only_files_that_are_there_are_named(keys: set[str], options: list[str]) -> None:
    for pod in pods(made(FULL, tls_keys=frozenset(keys))).values():
        [main] = pod["containers"]
        assert [word for word in main["args"] if "tls" in word] == options
        mounted = {one["name"]: one["mountPath"] for one in main["volumeMounts"]}
        assert (mounted["pulsar-token"], mounted["pulsar-tls"]) == ("/pulsar/token", "/pulsar/tls")


@pytest.mark.parametrize("values", [case.spec for case in cases.ACCEPTED], ids=[case.name for case in cases.ACCEPTED])
def test_every_pod_is_restricted(values: Manifest) -> None:
    """The rules of the pod security level `restricted`, and ours: read-only, without a token."""
    if "path" in values["event"]:
        return
    for pod in pods(made(values)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        kinds = {kind for volume in pod["volumes"] for kind in volume} - {"name"}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            }
            assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("values", [case.spec for case in cases.ACCEPTED], ids=[case.name for case in cases.ACCEPTED])
def test_every_command_is_one_of_the_scanner(values: Manifest, tmp_path: Any) -> None:
    from skymap_scanner.cli import group  # noqa: PLC0415 - the operator itself never imports it

    if "path" in values["event"]:
        return
    keys = frozenset({"ca.crt", "tls.crt", "tls.key"})
    for role, pod in pods(made(values, tls_keys=keys)).items():
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            words = [_existing(word, tmp_path) for word in one["args"]]
            command = group.get_command(click.Context(group), words[0])
            assert command is not None
            context = command.make_context(words[0], words[1:], parent=click.Context(group))
            assert role == words[0] or words[0] == "simulate"
            if words[0] != "simulate":
                assert context.params["name"] == "alerts.alert"


def _existing(word: str, folder: Any) -> str:
    """A file that a Secret would hold, where the command wants to see it."""
    if not word.startswith("/pulsar/"):
        return word
    path = folder / word.replace("/", "_")
    path.write_text("x")
    return str(path)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 600}, LOST_NODE[:1]),
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}, LOST_NODE),
        ({"operator": "Exists"}, []),
    ],
)
def test_how_long_a_lost_node_is_waited_for_may_be_given(given: Manifest, ours: list[Manifest]) -> None:
    spec = FULL | {"workers": {"podTemplate": {"tolerations": [given]}}}
    assert manifests.workers(made(spec), 0)["spec"]["template"]["spec"]["tolerations"] == [given, *ours]


def test_what_the_user_gives_for_the_pods_of_workers() -> None:
    settings = SETTINGS.model_copy(update={"image_pull_secrets": ("ours", "registry")})
    found = manifests.workers(made(FULL, settings), 0)["spec"]["template"]
    assert found["metadata"]["labels"] == labels("worker") | {"team": "realtime"}
    assert found["metadata"]["annotations"]["example.org/contact"] == "shift@example.org"
    pod = found["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}, *LOST_NODE]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("realtime", "skymap-worker")
    assert pod["imagePullSecrets"] == [{"name": "ours"}, {"name": "registry"}]
    for job in manifests.jobs(made(FULL, settings)).values():  # of the same image
        assert job["spec"]["template"]["spec"]["imagePullSecrets"] == pod["imagePullSecrets"]
        assert "nodeSelector" not in job["spec"]["template"]["spec"]
    assert pod["affinity"] == FULL["workers"]["podTemplate"]["affinity"]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert pod["automountServiceAccountToken"] is False


def test_pods_of_a_realtime_scan_go_before_others_where_the_cluster_knows_how() -> None:
    urgent, settings = URL | {"priority": "Realtime"}, SETTINGS.model_copy(update={"realtime_priority_class": "alerts"})
    assert {pod.get("priorityClassName") for pod in pods(made(urgent, settings)).values()} == {"alerts"}
    for one in (made(URL, settings), made(urgent)):
        assert {pod.get("priorityClassName") for pod in pods(one).values()} == {None}
    own = made(urgent | {"workers": {"podTemplate": {"priorityClassName": "mine"}}}, settings)
    assert {role: pod["priorityClassName"] for role, pod in pods(own).items()} == {
        "producer": "alerts",
        "collector": "alerts",
        "saver": "alerts",
        "worker": "mine",
    }


KEDA = SETTINGS.model_copy(update={"scaling": "Keda", "scaling_url": "http://operator.skymap.svc:8080"})


def test_the_scaled_object_as_a_whole() -> None:
    at_once = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 7, "periodSeconds": 1}]}
    assert unsigned(manifests.scaled_object(made(URL | {"workers": {"max": 7}}, KEDA))) == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata("alert-workers", "worker"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "alert-workers"},
            "pollingInterval": 10,
            "cooldownPeriod": 0,
            "minReplicaCount": 0,
            "maxReplicaCount": 7,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": at_once, "scaleDown": at_once}}},
            "triggers": [
                {
                    "type": "metrics-api",
                    "metricType": "AverageValue",
                    "metadata": {
                        "url": "http://operator.skymap.svc:8080/scaling/alerts/alert",
                        "format": "json",
                        "valueLocation": "wanted",
                        "targetValue": "1",
                        "activationTargetValue": "0",
                    },
                }
            ],
        },
    }
    assert manifests.scaled_object(made(URL, KEDA))["spec"]["maxReplicaCount"] == KEDA.max_workers
    with pytest.raises(ValueError, match="where KEDA reaches the operator"):
        manifests.scaled_object(made(URL))


def test_a_change_of_what_is_wanted_changes_the_digest() -> None:
    def digests(values: Manifest) -> list[str]:
        return [one["metadata"]["annotations"][HASH] for one in everything(made(values))]

    assert digests(URL) == digests(URL)
    changed = digests(URL | {"workers": {"resources": {"limits": {"memory": "4Gi"}}}})
    assert [a == b for a, b in zip(digests(URL), changed, strict=True)] == [False, True, True, True, False, True]
    workers = [manifests.workers(made(URL), count)["metadata"]["annotations"][HASH] for count in (0, 9)]
    assert workers[0] == workers[1]  # how many there are is decided anew all the time


def test_jobs_have_the_limits_of_the_scan() -> None:
    for job in manifests.jobs(made(FULL)).values():
        assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (5, 7200)


def test_a_scan_keeps_what_it_began_with() -> None:
    began = RunsWith(image="old:1", service_url="pulsar://old:6650", admin_url="http://old:8080", tenant="past")
    assert runs_with(scan(URL, SkymapScanStatus(runs_with=began)), SETTINGS) == began
    given = {"serviceUrl": "pulsar://mine:6650", "tenant": "own"}
    assert runs_with(scan(URL | {"pulsar": given}), SETTINGS) == RunsWith(
        image="registry.example/scanner:1",
        service_url="pulsar://mine:6650",
        admin_url="http://pulsar:8080",
        tenant="own",
    )


def test_the_operators_credentials_are_for_its_own_pulsar_only() -> None:
    settings = SETTINGS.model_copy(update={"pulsar_token_secret": "ours", "pulsar_tls_secret": "certificates"})
    access = pulsar_access(scan(URL), settings)
    assert (access.own, access.token and access.token.name, access.tls_secret) == (True, "ours", "certificates")
    access = pulsar_access(scan(URL | {"pulsar": {"adminUrl": "http://elsewhere:8080"}}), settings)
    assert (access.own, access.token, access.tls_secret) == (False, None, None)
    access = pulsar_access(scan(URL | {"pulsar": {"tokenSecret": {"name": "mine"}}}), settings)
    assert (access.own, access.token and access.token.name) == (True, "mine")
