"""Pod templates and resources near the edges of their rules, as Hypothesis strategies."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

Strategy = st.SearchStrategy[Any]


def optional(**fields: Strategy) -> Strategy:
    """Return objects with some of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def some(items: Strategy, most: int = 2) -> Strategy:
    """Return short lists."""
    return st.lists(items, max_size=most)


KEYS = st.sampled_from(
    [
        *("", "a", "a b", "a-", "-a", "a_b.C-9", "a/b", "a/b/c", "a/", "/b", "A.org/b", "a..b/c", "a.b.c/d", "a\n"),
        *("n" * 63, "n" * 64, f"{'d' * 60}.{'d' * 60}/n", f"{'d' * 250}/n", f"{'d' * 252}/n"),
        *("app.kubernetes.io/name", "appXkubernetes.io/name", "skymap.icecube.wisc.edu/a", "skymap.icecube.wisc.edu"),
        *("job-name", "job-names", "controller-uid", "pod-template-hash", "batch.kubernetes.io/job-name"),
        *("controller.kubernetes.io/pod-deletion-cost", "kubernetes.io/config.mirror", "kubernetes.io/config"),
        *("container.apparmor.security.beta.kubernetes.io/worker", "seccomp.security.alpha.kubernetes.io/pod"),
    ]
)
VALUES = st.sampled_from(["", "x", "1", "007", "-1", "a b", "a.b", "x" * 63, "x" * 64])
LABELS = st.dictionaries(KEYS, VALUES, max_size=2)
TOLERATION = optional(
    key=KEYS,
    operator=st.sampled_from(["Exists", "Equal"]),
    value=VALUES,
    effect=st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    tolerationSeconds=st.sampled_from([0, 30]),
)
_OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"]


def requirement(*operators: str, keys: Strategy = KEYS) -> Strategy:
    """Return requirements on labels or fields."""
    needed = {"key": keys, "operator": st.sampled_from([*_OPERATORS, *operators])}
    return st.fixed_dictionaries(needed, optional={"values": some(VALUES)})


SELECTOR = optional(matchLabels=LABELS, matchExpressions=some(requirement()))
POD_TERM = st.fixed_dictionaries(
    {"topologyKey": KEYS},
    optional={
        "labelSelector": SELECTOR,
        "namespaceSelector": SELECTOR,
        "namespaces": some(st.sampled_from(["a", "a.b", "a" * 63, "a" * 64, "A"])),
        "matchLabelKeys": some(KEYS),
        "mismatchLabelKeys": some(KEYS),
    },
)
NODE_TERM = optional(
    matchExpressions=some(requirement("Gt", "Lt")),
    matchFields=some(requirement(keys=st.sampled_from(["metadata.name", "spec.x"]))),
)
_WEIGHT = st.sampled_from([0, 1, 100, 101])
AFFINITY = optional(
    nodeAffinity=optional(
        requiredDuringSchedulingIgnoredDuringExecution=st.fixed_dictionaries({"nodeSelectorTerms": some(NODE_TERM)}),
        preferredDuringSchedulingIgnoredDuringExecution=some(
            st.fixed_dictionaries({"weight": _WEIGHT, "preference": NODE_TERM}), 1
        ),
    ),
    podAntiAffinity=optional(
        requiredDuringSchedulingIgnoredDuringExecution=some(POD_TERM, 1),
        preferredDuringSchedulingIgnoredDuringExecution=some(
            st.fixed_dictionaries({"weight": _WEIGHT, "podAffinityTerm": POD_TERM}), 1
        ),
    ),
)
_IDS = st.sampled_from([-1, 0, 1, 1000, 2**31 - 1, 2**31])
#: Templates with one kind of field each, so that not every one is invalid for several reasons.
POD_TEMPLATE = st.one_of(
    optional(labels=LABELS),
    optional(annotations=LABELS),
    optional(nodeSelector=LABELS),
    optional(tolerations=some(TOLERATION)),
    optional(affinity=AFFINITY),
    optional(securityContext=optional(runAsUser=_IDS, runAsGroup=_IDS, fsGroup=_IDS, supplementalGroups=some(_IDS))),
)
_AMOUNTS = st.dictionaries(
    st.sampled_from(
        [
            *("cpu", "memory", "ephemeral-storage", "storage", "pods", "gpu", "hugepages-2Mi", "a.org/b", "a.org/"),
            *("a.org/b/c", "requests.a.org/b", "kubernetes.io/b", f"{'d' * 240}/n", f"{'d' * 250}/n"),
        ]
    ),
    st.sampled_from(["0", 0, 1, "1", "1000m", "1001m", "1.5", "1Ki", "1024", "1e3", "0.0001", "9Ei", "1e30"]),
    max_size=2,
)
RESOURCES = optional(requests=_AMOUNTS, limits=_AMOUNTS)
