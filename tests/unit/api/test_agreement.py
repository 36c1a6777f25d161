"""Python and CEL accept and reject the same of all specs that the schema allows."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, assume, example, given, settings
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from testing.manifests import cases, changes, rules, strategies
from testing.manifests.strategies import optional

from skymap_api.crd import resource_schema
from skymap_api.resource import SkymapScanSpec

SPEC = resource_schema()["properties"]["spec"]

NSIDES = st.sampled_from([1, 2, 4, 8, 8192])
COUNTS = st.sampled_from([0, 1, 11, 12, 13, 47, 48, 767, 768, 12 * 8192**2 - 1, 12 * 8192**2, 2**31 - 1])
#: Text near the edges of the rules on addresses, paths and labels.
PIECES = st.lists(
    st.sampled_from(
        [
            "http",
            "https",
            "pulsar",
            "pulsar+ssl",
            "://",
            ":",
            "/",
            "..",
            ".",
            "a",
            "@",
            "?",
            "#",
            " ",
            "\n",
            "[::1]",
            "é",
        ]
    ),
    min_size=1,
    max_size=8,
).map("".join)
SIMPLE = st.just({})
SECRET = st.just({"name": "a"})
EVENTS = optional(
    url=PIECES,
    credentialsSecret=SECRET,
    configMap=SECRET,
    persistentVolumeClaim=st.fixed_dictionaries({"claimName": st.just("a"), "path": PIECES}),
    simulate=SIMPLE,
)
LEVEL = st.fixed_dictionaries(
    {"nside": NSIDES, "parents": st.sampled_from([0, 1, 5])}, optional={"probability": st.just(0.9)}
)
LEVELS = st.one_of(
    st.sampled_from([[{"nside": 8, "parents": 0}], [{"nside": 1, "parents": 0}, {"nside": 8, "parents": 5}]]),
    st.lists(LEVEL, min_size=1, max_size=14),
)
SPECS = st.fixed_dictionaries(
    {"event": st.one_of(st.just(cases.URL["event"]), EVENTS)},
    optional={
        "levels": LEVELS,
        "area": st.fixed_dictionaries({"nside": NSIDES, "pixel": COUNTS, "pixels": COUNTS.filter(bool)}),
        "pixels": st.lists(COUNTS, min_size=1, max_size=4),
        "seeds": st.sampled_from([1, 7]),
        "firstSeeds": st.sampled_from([1, 7]),
        "calibrate": st.sampled_from([0, 1, 60]),
        "workers": optional(
            min=COUNTS,
            max=COUNTS.filter(bool),
        ),
        "output": optional(
            path=PIECES,
            claim=optional(
                name=st.just("a"), size=st.sampled_from(["1Gi", 0, "0m", "0.0001"]), storageClassName=st.just("b")
            ),
        ),
        "pulsar": optional(serviceUrl=PIECES, adminUrl=PIECES),
    },
)


def violations(spec: dict[str, Any]) -> set[str]:
    """Return the messages of the rules that Python finds violated; outer rules only if all inner ones hold."""
    try:
        SkymapScanSpec.model_validate(spec)
    except ValidationError as error:
        return {text for fault in error.errors() for text in fault["msg"].removeprefix("Value error, ").split("; ")}
    return set()


@settings(max_examples=300, deadline=None)
@given(SPECS)
@example({"event": {"url": "https://a\n"}})
@example({"event": {"url": "https://a"}, "output": {"path": "a/..\n"}})
def test_python_and_cel_reject_the_same_manifests(spec: dict[str, Any]) -> None:
    filled = rules.with_defaults(spec, SPEC)
    found = {one.partition(": ")[2] for one in rules.complaints(SPEC, filled)}
    rejected = violations(filled)
    assert rejected <= found
    assert bool(rejected) == bool(found)


def breaks_schema(spec: dict[str, Any]) -> bool:
    """Return whether a type, pattern or bound rejects the spec, before which no rule is evaluated."""
    try:
        SkymapScanSpec.model_validate(spec)
    except ValidationError as error:
        return any(fault["type"] != "value_error" for fault in error.errors())
    return False


PODS = st.one_of(
    st.fixed_dictionaries({"podTemplate": strategies.POD_TEMPLATE}),
    st.fixed_dictionaries({"resources": strategies.RESOURCES}),
)


@settings(max_examples=1000, deadline=None)
@given(PODS)
def test_python_and_cel_reject_the_same_pods(workers: dict[str, Any]) -> None:
    spec = rules.with_defaults(cases.URL | {"workers": workers}, SPEC)
    if breaks_schema(spec):
        return
    found = {one.partition(": ")[2] for one in rules.complaints(SPEC, spec)}
    rejected = violations(spec)
    assert rejected <= found
    assert bool(rejected) == bool(found)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(SPECS, SPECS, st.sets(st.sampled_from(sorted(SPEC["properties"]))))
def test_rules_reject_immutable_changes_alone(old: dict[str, Any], other: dict[str, Any], changed: set[str]) -> None:
    new = {name: other[name] for name in other if name in changed} | {
        name: old[name] for name in old if name not in changed
    }
    new.setdefault("event", old["event"])
    assume(not violations(old) and not violations(new))
    before, after = SkymapScanSpec.model_validate(old), SkymapScanSpec.model_validate(new)
    parts = ((before, after), (before.output, after.output), (before.output.claim, after.output.claim))
    different = [name for a, b in parts for name in a.immutable if getattr(a, name) != getattr(b, name)]
    rejected = [f"{to_camel(name)} {changes.UNCHANGED}" for name in different]
    found = [one.partition(": ")[2] for one in rules.complaints(SPEC, new, old)]
    assert sorted(found) == sorted(rejected)
