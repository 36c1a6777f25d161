"""Valid and invalid parts of pods: templates, and resources of a container."""

from __future__ import annotations

from typing import Any, NamedTuple

Fields = dict[str, Any]


class Valid(NamedTuple):
    """Fields that are accepted."""

    name: str
    fields: Fields


class Invalid(NamedTuple):
    """Fields that are rejected at ``field``; ``message`` is that of our own rule, if one rejects it."""

    name: str
    fields: Fields
    field: str
    message: str = ""


NO_KEY = "without a key the operator must be Exists"
NO_VALUE = "value: with the operator Exists there is none"
SECONDS = "tolerationSeconds needs the effect NoExecute"
OURS = "labels that begin with skymap.icecube.wisc.edu/ or app.kubernetes.io/ belong to the operator"
CONTROLLERS = "labels: Kubernetes itself sets controller-uid"
OUR_ANNOTATIONS = "annotations of the operator and the kubelet"
PRIORITY = "priorityClassName: classes that begin with system- are reserved for the cluster's own pods"
NODE_VALUES = "values: In and NotIn need at least one, Exists and DoesNotExist none, Gt and Lt a single whole number"
LABEL_VALUES = "values: In and NotIn need at least one, Exists and DoesNotExist none"
NO_SELECTOR = "matchLabelKeys and mismatchLabelKeys need a labelSelector"
REPEATED = "matchLabelKeys: a key of them must not be in labelSelector or mismatchLabelKeys"
NAMES = "a resource is cpu, memory or ephemeral-storage"
ABOVE = "a request must not be more than its limit"
DEVICES = "a resource with a domain, such as nvidia.com/gpu, needs a limit"


def keys(field: str) -> str:
    """Return the message about the keys of a map."""
    return f"{field}: each key must be a name"


_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_NODE = f"affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[0]"
_POD = f"affinity.podAffinity.{_REQUIRED}[0]"


def node(kind: str = "matchExpressions", **requirement: Any) -> Fields:
    """Return a template with one requirement on nodes."""
    return {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{kind: [requirement]}]}}}}


def other(**term: Any) -> Fields:
    """Return a template with one term on other pods."""
    return {"affinity": {"podAffinity": {_REQUIRED: [{"topologyKey": "zone"} | term]}}}


def labelled(**requirement: Any) -> Fields:
    """Return a template with one requirement on the labels of other pods."""
    return other(labelSelector={"matchExpressions": [requirement]})


VALID = [
    Valid("keys at their longest", {"labels": {f"{'d' * 189}/{'n' * 63}": "x", "A.b_c-9": ""}}),
    Valid("annotation of an odd domain", {"annotations": {"Example.ORG/Note": "", "sidecar.istio.io/inject": "false"}}),
    Valid("labels beside the reserved ones", {"labels": {"job-name-2": "x", "skymap.icecube.wisc.edu": "x"}}),
    Valid(
        "tolerations",
        {
            "tolerations": [
                {"operator": "Exists"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
                {"key": "a", "operator": "Exists", "value": ""},
                {"key": "a.org/b", "value": "c", "effect": "NoExecute", "tolerationSeconds": 9},
            ]
        },
    ),
    Valid(
        "ids",
        {
            "securityContext": {
                "runAsUser": 2**31 - 1,
                "runAsGroup": 0,
                "fsGroup": 0,
                "supplementalGroups": [0, 1000],
            }
        },
    ),
    Valid("node by number", node(key="cores", operator="Gt", values=["31"])),
    Valid("node without a label", node(key="cores", operator="DoesNotExist", values=[])),
    Valid("node by its long name", node("matchFields", key="metadata.name", operator="In", values=["n" * 100])),
    Valid(
        "pods of another version",
        other(
            labelSelector={"matchLabels": {"app": "a"}},
            matchLabelKeys=["pod-template-hash"],
            mismatchLabelKeys=["app"],
            namespaces=["n" * 63],
        ),
    ),
]

INVALID = [
    Invalid("toleration of nothing", {"tolerations": [{"value": "a"}]}, "tolerations[0].operator", NO_KEY),
    Invalid("toleration's effect", {"tolerations": [{"key": "a", "effect": "No"}]}, "tolerations[0].effect"),
    Invalid("toleration's key", {"tolerations": [{"key": "a b"}]}, "tolerations[0].key"),
    Invalid("toleration's empty key", {"tolerations": [{"key": "", "operator": "Exists"}]}, "tolerations[0].key"),
    Invalid(
        "value with Exists",
        {"tolerations": [{"key": "gpu", "operator": "Exists", "value": "x"}]},
        "tolerations[0].value",
        NO_VALUE,
    ),
    Invalid(
        "seconds of NoSchedule",
        {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        "tolerations[0].tolerationSeconds",
        SECONDS,
    ),
    Invalid(
        "seconds of every effect",
        {"tolerations": [{"operator": "Exists", "tolerationSeconds": 5}]},
        "tolerations[0].tolerationSeconds",
        SECONDS,
    ),
    Invalid("label of ours", {"labels": {"app.kubernetes.io/name": "x"}}, "labels", OURS),
    Invalid("label of a Job", {"labels": {"batch.kubernetes.io/job-name": "x"}}, "labels", CONTROLLERS),
    Invalid("label of an old Job", {"labels": {"job-name": "x"}}, "labels", CONTROLLERS),
    Invalid("label's value", {"labels": {"a": "b c"}}, "labels.a"),
    Invalid("label's key", {"labels": {"a b": "c"}}, "labels", keys("labels")),
    Invalid("label's empty name", {"labels": {"a.org/": "c"}}, "labels", keys("labels")),
    Invalid("label's long name", {"labels": {"n" * 64: "c"}}, "labels", keys("labels")),
    Invalid("label's long key", {"labels": {f"{'d' * 253}/n": "c"}}, "labels", keys("labels")),
    Invalid("label's domain", {"labels": {"A.org/n": "c"}}, "labels", keys("labels")),
    Invalid("annotation's key", {"annotations": {"a/b/c": ""}}, "annotations", keys("annotations")),
    Invalid("annotation's length", {"annotations": {"a": "x" * 1025}}, "annotations.a"),
    Invalid("annotation of ours", {"annotations": {"skymap.icecube.wisc.edu/a": ""}}, "annotations", OUR_ANNOTATIONS),
    *(
        Invalid(f"annotation {key}", {"annotations": {key: "x"}}, "annotations", OUR_ANNOTATIONS)
        for key in (
            "controller.kubernetes.io/pod-deletion-cost",
            "container.apparmor.security.beta.kubernetes.io/worker",
            "container.seccomp.security.alpha.kubernetes.io/worker",
            "seccomp.security.alpha.kubernetes.io/pod",
            "scheduler.alpha.kubernetes.io/tolerations",
            "kubernetes.io/config.mirror",
        )
    ),
    Invalid("node's label", {"nodeSelector": {"-": "x"}}, "nodeSelector", keys("nodeSelector")),
    Invalid("the cluster's own priority", {"priorityClassName": "system-node-critical"}, "priorityClassName", PRIORITY),
    Invalid("affinity of no pod", {"affinity": {"nodeAffinity": [[[1]]]}}, "affinity.nodeAffinity"),
    *(
        Invalid(
            f"affinity's weight {weight}",
            {"affinity": {"nodeAffinity": {_PREFERRED: [{"weight": weight, "preference": {}}]}}},
            f"affinity.nodeAffinity.{_PREFERRED}[0].weight",
        )
        for weight in (0, 101)
    ),
    Invalid(
        "no nodes",
        {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": []}}}},
        f"affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms",
    ),
    Invalid("nodes' key", node(key="a b", operator="Exists"), f"{_NODE}.matchExpressions[0].key"),
    *(
        Invalid(
            f"nodes {requirement}",
            node(key="a", **requirement),
            f"{_NODE}.matchExpressions[0].values",
            NODE_VALUES,
        )
        for requirement in (
            {"operator": "In"},
            {"operator": "NotIn", "values": []},
            {"operator": "Exists", "values": ["x"]},
            {"operator": "Gt"},
            {"operator": "Gt", "values": ["1", "2"]},
            {"operator": "Lt", "values": ["many"]},
        )
    ),
    Invalid(
        "nodes' other field",
        node("matchFields", key="spec.x", operator="In", values=["a"]),
        f"{_NODE}.matchFields[0].key",
    ),
    Invalid(
        "nodes' field exists",
        node("matchFields", key="metadata.name", operator="Exists", values=["a"]),
        f"{_NODE}.matchFields[0].operator",
    ),
    Invalid(
        "two nodes' names",
        node("matchFields", key="metadata.name", operator="In", values=["a", "b"]),
        f"{_NODE}.matchFields[0].values",
    ),
    Invalid("no topology", other(topologyKey=""), f"{_POD}.topologyKey"),
    Invalid("pods' namespace", other(namespaces=["a.b"]), f"{_POD}.namespaces[0]"),
    Invalid(
        "pods' label",
        other(labelSelector={"matchLabels": {"a b": "c"}}),
        f"{_POD}.labelSelector.matchLabels",
        keys("matchLabels"),
    ),
    *(
        Invalid(
            f"pods {requirement}",
            labelled(key="a", **requirement),
            f"{_POD}.labelSelector.matchExpressions[0].values",
            LABEL_VALUES,
        )
        for requirement in ({"operator": "In"}, {"operator": "DoesNotExist", "values": ["x"]})
    ),
    Invalid(
        "pods by number",
        labelled(key="a", operator="Gt", values=["1"]),
        f"{_POD}.labelSelector.matchExpressions[0].operator",
    ),
    Invalid("keys without a selector", other(matchLabelKeys=["a"]), f"{_POD}.labelSelector", NO_SELECTOR),
    Invalid(
        "keys that differ without a selector", other(mismatchLabelKeys=["a"]), f"{_POD}.labelSelector", NO_SELECTOR
    ),
    *(
        Invalid(
            f"key in {name}",
            other(**{"labelSelector": {}} | more, matchLabelKeys=["a"]),
            f"{_POD}.matchLabelKeys",
            REPEATED,
        )
        for name, more in {
            "mismatchLabelKeys": {"mismatchLabelKeys": ["a"]},
            "matchLabels": {"labelSelector": {"matchLabels": {"a": "b"}}},
            "matchExpressions": {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        }.items()
    ),
    Invalid("root", {"securityContext": {"runAsUser": 0}}, "securityContext.runAsUser"),
    Invalid("group's id", {"securityContext": {"fsGroup": 2**31}}, "securityContext.fsGroup"),
    Invalid(
        "supplemental group", {"securityContext": {"supplementalGroups": [-1]}}, "securityContext.supplementalGroups[0]"
    ),
    Invalid("privileges", {"securityContext": {"privileged": True}}, "securityContext.privileged"),
    Invalid(
        "seccomp", {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "securityContext.seccompProfile"
    ),
    *(
        Invalid(f"pod's {name}", {name: value}, name)
        for name, value in {
            "hostNetwork": True,
            "hostPID": True,
            "containers": [{"name": "worker", "securityContext": {"privileged": True}}],
            "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
            "automountServiceAccountToken": True,
            "runtimeClassName": "other",
        }.items()
    ),
]

VALID_RESOURCES = [
    Valid("cpu and memory", {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "1500m"}}),
    Valid("request at its limit", {"requests": {"memory": "1Gi"}, "limits": {"memory": "1024Mi", "cpu": "2"}}),
    Valid("disk", {"requests": {"ephemeral-storage": 0}, "limits": {"ephemeral-storage": "1e9"}}),
    Valid("device", {"requests": {"nvidia.com/gpu": "1000m"}, "limits": {"nvidia.com/gpu": 1}}),
    Valid("device's limit alone", {"limits": {"example.org/a.b": 2, "memory": "1Gi"}}),
]

INVALID_RESOURCES = [
    Invalid("no quantity", {"requests": {"cpu": "lots"}}, "requests.cpu"),
    Invalid("negative quantity", {"limits": {"cpu": -1}}, "limits.cpu"),
    *(
        Invalid(f"resource {name}", {"limits": {name: 1}}, "", NAMES)
        for name in ("gpu", "storage", "hugepages-2Mi", "kubernetes.io/a", "requests.a.org/b", "a.org/", "a.org/b/c")
    ),
    Invalid("long resource", {"limits": {f"{'d' * 243}/n": 1}}, "", NAMES),
    Invalid("requested resource", {"requests": {"pods": 1}}, "", NAMES),
    Invalid("request above limit", {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}, "", ABOVE),
    Invalid("request just above limit", {"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}}, "", ABOVE),
    Invalid("device without limit", {"requests": {"nvidia.com/gpu": 1}}, "", DEVICES),
    Invalid("device's other limit", {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}, "", DEVICES),
    Invalid("device in milli", {"limits": {"nvidia.com/gpu": "1000m"}}, "", DEVICES),
    Invalid("half a device", {"limits": {"nvidia.com/gpu": "500m"}}, "", DEVICES),
]
