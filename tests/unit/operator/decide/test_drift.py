"""Whether a live object differs from the wanted one; quantities compare by their amount."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.unit.operator.recipes import HASH, OPERATOR, URL, made
from tests.unit.operator.world import SETTINGS

from skymap_api.resource.pods import PodTemplate
from skymap_api.resource.quantities import Quantity, same_quantity
from skymap_api.resource.resources import Resources
from skymap_operator.decide.actions import Patch
from skymap_operator.decide.drift import differs, patch_job, workers_differ
from skymap_operator.manifests import workers
from skymap_operator.observe.children import Job

UNTIMED = settings(deadline=None)
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def signed(spec: dict[str, Any], digest: str = "1") -> dict[str, Any]:
    return {"metadata": {"annotations": {"skymap.icecube.wisc.edu/content": digest}}, "spec": spec}


@pytest.mark.parametrize(
    ("live", "wanted", "differ"),
    [
        ({"a": 1}, {"a": 1}, False),
        ({"a": 1, "defaulted": True}, {"a": 1}, False),
        ({"a": 2}, {"a": 1}, True),
        ({}, {"a": 1}, True),
        ({"list": [{"a": 1, "b": 2}]}, {"list": [{"a": 1}]}, False),
        ({"list": [{"a": 1}, {"a": 2}]}, {"list": [{"a": 1}]}, True),
        ({}, {"list": []}, False),
        ({"selector": {}}, {"selector": {"matchLabels": {}}}, False),
        ({}, {"selector": {"matchLabels": {"a": "b"}}}, True),
        ({"list": {"a": 1}}, {"list": [1]}, True),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1000m"}}}, False),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "2"}}}, True),
        ({"resources": {"limits": {"memory": "2Gi"}}}, {"resources": {"limits": {"memory": "2097152Ki"}}}, False),
        ({"resources": {"requests": {"memory": 1024}}}, {"resources": {"requests": {"memory": "1Ki"}}}, False),
        # Nonsense that somebody wrote is compared as text and raises no error.
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1.5.2"}}}, True),
        ({"resources": {"limits": {"cpu": "much"}}}, {"resources": {"limits": {"cpu": "much"}}}, False),
        ({"value": "1000m"}, {"value": "1"}, True),
    ],
)
def test_live_object_differs_where_a_wanted_field_does(
    live: dict[str, Any], wanted: dict[str, Any], *, differ: bool
) -> None:
    assert differs(signed(live), signed(wanted)) is differ
    assert differs(signed(live), signed(wanted, "2"))


def test_object_of_a_list_differs_from_none_of_its_kind() -> None:
    """The API server leaves kind and version out of the items of a list, which a restarted operator begins with."""
    wanted = signed({"a": 1}) | {"apiVersion": "apps/v1", "kind": "Deployment"}
    assert not differs(signed({"a": 1}), wanted)
    assert differs(signed({"a": 2}), wanted)


def test_deployment_that_was_too_long_to_keep_differs() -> None:
    version = {"skymap.icecube.wisc.edu/operator-version": "0"}
    wanted = {"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "a"}]}}}}
    assert workers_differ({"metadata": {"annotations": version}}, wanted | {"metadata": {"annotations": {}}})


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"image": "registry.example/scanner:2"}, True),
        ({"image_pull_policy": "Always"}, True),
        ({"worker_resources": Resources(limits={"memory": "9Gi"})}, True),
        ({"pod_template": PodTemplate(labels={"a": "b"})}, True),
        ({"pulsar_token_secret": "another"}, True),
        ({"role_resources": Resources(limits={"memory": "9Gi"})}, False),
        ({}, False),
    ],
)
def test_workers_of_another_version_differ_by_settings_alone(changes: dict[str, Any], *, differ: bool) -> None:
    settings = SETTINGS.model_copy(update={"pulsar_token_secret": "token"})
    live = workers(made(URL, settings), 3)
    live["spec"]["template"]["spec"]["hostname"] = "of-an-older-version"
    live["metadata"]["annotations"] |= {OPERATOR: "0.0.9", HASH: "of-an-older-version"}
    assert workers_differ(live, workers(made(URL, settings.model_copy(update=changes)), 3)) is differ


def test_only_mutable_fields_of_a_job_are_patched() -> None:
    live = {"suspend": True, "backoffLimit": 5, "template": {"old": 1}, "activeDeadlineSeconds": 9}
    wanted = {"suspend": False, "backoffLimit": 5, "template": {"new": 1}}
    named = {"metadata": {"name": "a-saver"}}
    patch = Patch("Job", "a-saver", {"spec": {"suspend": False, "activeDeadlineSeconds": None}})
    assert patch_job(Job(named | {"spec": live}), {"spec": wanted}) == [patch]
    assert patch_job(Job(named | {"spec": wanted}), {"spec": wanted}) == []


def amount(text: str) -> Fraction:
    """The amount that the API server reads, computed in exact fractions.

    It rounds up to 1m, and caps amounts with a binary suffix at 2^63 - 1.
    """
    sign, whole, part, suffix = re.fullmatch(r"([+-]?)(\d*)\.?(\d*)(.*)", text).groups()  # type: ignore[union-attr]
    value = Fraction(int(whole + part or "0"), 10 ** len(part))
    if suffix in BINARY:
        value *= 2 ** BINARY[suffix]
    elif suffix in DECIMAL:
        value *= Fraction(10) ** DECIMAL[suffix]
    else:
        value *= Fraction(10) ** int(suffix[1:])
    value = Fraction(-(-value * 10**3 // 1), 10**3)
    value = min(value, Fraction(2**63 - 1)) if suffix in BINARY else value
    return -value if sign == "-" else value


def canonical(text: str) -> str:
    """The form in which the API server writes a quantity: a whole number with the largest suffix that allows it."""
    value = amount(text)
    suffix = re.fullmatch(r"[+-]?[0-9.]*(.*)", text)[1]  # type: ignore[index]
    if value == 0:
        return "0"
    if suffix in BINARY and value.denominator == 1 and abs(value) >= 1024:
        fits = [name for name, power in BINARY.items() if value % 2**power == 0]
        return f"{value / 2 ** BINARY[fits[-1]]}{fits[-1]}" if fits else str(value)
    exponents = suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix not in BINARY
    powers = range(-9, 60, 3) if exponents else sorted(DECIMAL.values())
    power = max(power for power in powers if (value / Fraction(10) ** power).denominator == 1)
    number = value / Fraction(10) ** power
    if exponents:
        return f"{number}e{power}" if power else str(number)
    return f"{number}{next(name for name, one in DECIMAL.items() if one == power)}"


NUMBERS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}", fullmatch=True)
SUFFIXES = st.sampled_from([*DECIMAL, *BINARY]) | st.builds(
    "{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 18)
)
QUANTITIES = st.builds("{}{}{}".format, st.sampled_from(["", "+", "-"]), NUMBERS, SUFFIXES)


@UNTIMED
@given(QUANTITIES)
@example("2097152Ki")
@example("0.1n")
@example("e3")
@example("1.5Ki")
@example("9Ei")
@example("1E")
@example("1E3")
@example("+.5e-3")
@example("1000m")
def test_quantity_equals_its_canonical_form(text: str) -> None:
    assert same_quantity(text, canonical(text))
    assert same_quantity(canonical(text), text)


@UNTIMED
@given(QUANTITIES, QUANTITIES)
def test_quantities_are_equal_when_their_amounts_are(one: str, other: str) -> None:
    assert same_quantity(one, other) is (amount(one) == amount(other))


ACCEPTED = next(one["pattern"] for one in [TypeAdapter(Quantity).json_schema()])


@UNTIMED
@given(st.from_regex(re.compile(ACCEPTED, re.ASCII), fullmatch=True).filter(lambda text: len(text) <= 32))
@example("9" * 32)
@example("1e99")
def test_every_quantity_of_the_definition_is_compared_by_amount(text: str) -> None:
    assert same_quantity(text, f"+{text}"), "read as an amount, not compared as text"


@pytest.mark.parametrize("text", ["", "1.5.2", "1e", "1ki", "1mi", "1e99999", "--1", "1 Gi", "9" * 200])
def test_invalid_quantity_equals_only_itself(text: str) -> None:
    assert same_quantity(text, text)
    assert not same_quantity(text, "1")
