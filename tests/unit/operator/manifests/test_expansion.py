"""No field of a scan can name a variable of its containers: the kubelet expands each to the very value of the field."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.operator.recipes import FULL, Manifest, made, pods

#: A text that most fields accept, in whose place a hostile text is put.
PLAIN = "Plain0"
PASSWORD = "s3cret-41c7ab"  # noqa: S105 - an invented one to search for

SOURCES: list[Manifest] = [
    FULL["event"],
    {"configMap": {"name": "event", "key": "event.json"}},
    {"persistentVolumeClaim": {"claimName": "events", "path": "a/event.i3"}},
    {"simulate": {"topology": "track"}},
]
SPECS = [
    FULL | {"event": event, "reconstruction": FULL["reconstruction"] | {"parameters": {"mode": "x", "file": "y"}}}
    for event in SOURCES
]


def expand(text: str, value_of: Callable[[str], str]) -> str:
    """Expand $(NAME) as the kubelet does: Kubernetes' third_party/forked/golang/expansion/expand.go, line by line."""
    expanded, checkpoint, cursor = "", 0, 0
    while cursor < len(text):
        if text[cursor] == "$" and cursor + 1 < len(text):
            expanded += text[checkpoint:cursor]
            read, is_variable, advance = _read_variable_name(text[cursor + 1 :])
            expanded += value_of(read) if is_variable else read
            cursor += advance
            checkpoint = cursor + 1
        cursor += 1
    return expanded + text[checkpoint:]


def _read_variable_name(text: str) -> tuple[str, bool, int]:
    if text[0] == "$":  # an escaped $
        return "$", False, 1
    if text[0] == "(":
        end = text.find(")")
        return (text[1:end], True, end + 1) if end > 0 else ("$(", False, 1)
    return "$" + text[0], False, 1


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "a"),
        ("x$(A)$(A)y", "xaay"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$(B)", "$(B)"),
        ("$(A", "$(A"),
        ("$A$", "$A$"),
        ("$($(A))", "$($(A))"),
        ("$()", "$()"),
    ],
)
def test_reference_expands_as_the_table_of_kubernetes(text: str, expanded: str) -> None:
    """Some lines of expand_test.go."""
    assert expand(text, lambda name: {"A": "a"}.get(name, f"$({name})")) == expanded


def words(container: Manifest) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and variables that the kubelet gives to a process."""
    known: dict[str, str] = {}
    value_of = lambda name: known.get(name, f"$({name})")  # noqa: E731
    for one in container["env"]:
        known[one["name"]] = expand(one["value"], value_of) if "value" in one else PASSWORD
    return [expand(word, value_of) for word in container["args"]], known


def processes(values: Manifest) -> list[tuple[list[str], dict[str, str]]]:
    found = [[*pod["containers"], *pod.get("initContainers", [])] for pod in pods(made(values)).values()]
    return [words(container) for containers in found for container in containers]


def texts(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of all texts in a spec."""
    if isinstance(values, str):
        yield path
    elif isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from texts(value, (*path, key))


def put(values: Manifest, path: tuple[str | int, ...], text: str) -> Manifest:
    """Return the spec with the text at the path, or as the name of the only parameter."""
    changed: Any = copy.deepcopy(values)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = {text: 1} if isinstance(place[path[-1]], dict) else text
    return dict(changed)


#: (spec, path of one of its texts, or of the parameters, whose names are texts, too).
FIELDS = [(spec, path) for spec in SPECS for path in (*texts(spec), ("reconstruction", "parameters"))]
HOSTILE = st.lists(
    st.sampled_from(
        ["$", "$$", "(", ")", "$(SKYMAP_EVENT_PASSWORD)", "$(SKYMAP_EVENT_ADDRESSES)", "$(HOME)", "a", "/", "."]
    ),
    min_size=1,
    max_size=6,
).map("".join)


def scheme(spec: Manifest, path: tuple[str | int, ...]) -> str:
    """Return how a value of the field begins."""
    value: Any = spec
    for key in path:
        value = value[key]
    found = re.match(r"[a-z+]+://", str(value))
    return found[0] if found else ""


@given(st.sampled_from(FIELDS), HOSTILE)
@example((SPECS[0], ("event", "url")), "$(SKYMAP_EVENT_PASSWORD).example.org/")
@example((SPECS[0], ("event", "pulseSeries")), "$$(SKYMAP_EVENT_PASSWORD)")
@example((SPECS[2], ("event", "persistentVolumeClaim", "path")), "$(HOME)")
@example((SPECS[0], ("output", "path")), "$(SKYMAP_EVENT_PASSWORD)")
@example((SPECS[0], ("reconstruction", "parameters", "mode")), "$(SKYMAP_EVENT_PASSWORD)")
@example((SPECS[0], ("reconstruction", "parameters")), "$(SKYMAP_EVENT_PASSWORD)")
def test_container_gets_the_very_value_of_each_field(field: tuple[Manifest, tuple[str | int, ...]], text: str) -> None:
    spec, path = field
    start = scheme(spec, path)
    try:
        hostile, plain = (processes(put(spec, path, start + one)) for one in (text, PLAIN))
    except ValidationError:
        return  # the field takes no such text
    expected = [([word.replace(PLAIN, text) for word in given_words], known) for given_words, known in plain]
    assert hostile == expected
    assert not any(PASSWORD in word for given_words, _ in hostile for word in given_words)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (SPECS[0], ("event", "url")),
        (SPECS[0], ("event", "pulseSeries")),
        (SPECS[2], ("event", "persistentVolumeClaim", "path")),
        (SPECS[0], ("output", "path")),
        (SPECS[0], ("reconstruction", "parameters", "mode")),
        (SPECS[0], ("reconstruction", "parameters")),
    ],
)
def test_fields_that_take_a_reference_reach_a_command(spec: Manifest, path: tuple[str, ...]) -> None:
    """Where a field takes it, the text is in some command, so that the property above is not of nothing."""
    text = "$(SKYMAP_EVENT_PASSWORD)"
    found = processes(put(spec, path, scheme(spec, path) + text))
    assert any(text in word for given_words, _ in found for word in given_words)
