"""YAML is read as kubectl reads it, and what is written is read the same by everybody."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from testing.leaving import leave_out

from skymap_scanner.cli import group
from skymap_scanner.cli.manifest import read_manifest
from skymap_scanner.cli.yaml_documents import read_documents, read_scalar, write_documents
from skymap_scanner.errors import InputError

#: Text that some reader takes for something else if it has no quotes.
WORDS = """
    y Y n N yes No ON off true False null Null ~ nan .nan .inf -.Inf +.INF << = 08 017 0o17 0O17 0x1F 0X1f 0b101 -0b101
    1e5 1E+5 25921e05 00e1 12e03 1e400 1_000 1__0 1e_5 _1 0x_1 +1 -1 +.5 .5 .5e3 5. 5.e3 .1_0 1_0.5 1.2.3 - + . : ? !x
    190:20:30 1:30 1:30.5 2001-01-01 2001-01-01T00:00:00Z 2026-11-29t10:00:00.5+01:00 99999999999999999999 -0 -0.0 0. *a
    &a @a `a %a {a} [a] #a |a >a !!int 'a' "a" a: -a --- ... 0x 0b102 1e -08 0o8 1,000 $a \\n
"""
TRICKY = [*WORDS.split(), "", " ", " a", "a ", "a\tb", "\t", "a\n", "\na", "a\n\nb", "a: b", "a #b", "? a", "- a", "a:"]
TRICKY += ["\x85", "\u2028", "\ufeff", "\x7f", "ü", "\x00", "\x1b[0m", "\U0001f52d", "\ud7ff", "\ufffe", "é\n "]
TRICKY += ["a" * 300, "a b " * 100]

number_like = st.text("0123456789+-._eExXoObBynNaif:", min_size=1, max_size=12)
text = st.one_of(st.sampled_from(TRICKY), number_like, st.text(st.characters(exclude_categories=["Cs"])))
scalar = st.one_of(
    text, st.booleans(), st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
)


def read(written: str, tmp_path: Path) -> list[Any]:
    path = tmp_path / "documents.yaml"
    path.write_text(written)
    return read_documents(path)


def same(one: object, other: object) -> bool:
    """Say whether two values are equal; True is not 1, and 1.0 is 1, as in JSON."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and type(other) is int:  # as kubectl prints it: the shortest digits, then zeros
        return one == float(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@pytest.fixture(scope="module")
def kubectl() -> Callable[[str], Any]:
    """Return a reader of one object that is kubectl; no cluster takes part."""
    program = shutil.which("kubectl")
    if program is None:
        leave_out("needs kubectl")

    def read(spec: str) -> Any:
        header = "apiVersion: example.org/v1\nkind: Example\nmetadata: {name: example}\n"
        done = subprocess.run(
            [program, "annotate", "--local", "-f", "-", "a=b", "-o", "json"],
            input=f"{header}{spec}".encode(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)["spec"]

    return read


@given(value)
@example({one: one for one in TRICKY})
def test_written_values_are_read_unchanged(tmp_path_factory: pytest.TempPathFactory, given: Any) -> None:
    written = write_documents([{"spec": given}])
    (found,) = read(written, tmp_path_factory.mktemp("yaml"))
    assert same(found, {"spec": given})
    assert same(yaml.safe_load(written), {"spec": given})


@given(st.lists(value, min_size=20, max_size=60))
@example([{one: one for one in TRICKY}, TRICKY, [1e20, 1e-7, 5e-324, -0.0, 2**63 - 1, True, None, {}, []]])
@settings(max_examples=15)
def test_written_values_are_read_by_kubectl_unchanged(kubectl: Callable[[str], Any], given: list[Any]) -> None:
    assert same(given, kubectl(write_documents([{"spec": given}])))


NOT_JSON = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"}  # kubectl rejects them
PLAIN = [one for one in TRICKY if one.isascii() and one.isprintable() and one[:1] not in set("-?:!&*@`%{[#|>'\", ")]
unquoted = number_like.filter(lambda one: ":" not in one and one != "-" and one.lstrip("+-") not in NOT_JSON)


@given(st.lists(unquoted, min_size=50, max_size=200))
@example([one for one in PLAIN if one.lstrip("+-") not in NOT_JSON and one.strip() == one and not one.endswith(":")])
@settings(max_examples=15)
def test_unquoted_text_is_read_as_by_kubectl(
    kubectl: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory, given: list[str]
) -> None:
    written = "spec:\n" + "".join(f"- {one}\n" for one in given)
    (found,) = read(written, tmp_path_factory.mktemp("yaml"))
    for one, theirs, ours in zip(given, kubectl(written), found["spec"], strict=True):
        assert same(ours, theirs), (one, ours, theirs)


@pytest.mark.parametrize(
    ("unquoted", "expected"),
    [
        *[(one, True) for one in ("y", "Y", "yes", "on", "TRUE")],
        *[(one, False) for one in ("n", "N", "No", "off", "false")],
        *[(one, None) for one in ("", "~", "null")],
        *[("017", 15), ("0o17", 15), ("-0O17", -15), ("0X1f", 31), ("0b101", 5), ("1_000", 1000), ("00", 0)],
        *[("08", 8.0), ("1e5", 1e5), ("25921e05", 2592100000.0), ("+.5", 0.5), ("5.e3", 5000.0), ("1e_5", 1e5)],
        *[(".inf", math.inf), ("-.inf", -math.inf), (str(2**63), 2.0**63), ("9" * 5000, "9" * 5000)],
        *[(one, one) for one in ("_1", "._5", "1:30", "2001-01-01", "1e400", "nULL", "nan", "0b102", "<<", "=", "0o8")],
    ],
)
def test_unquoted_text_has_the_value_that_kubectl_gives_it(unquoted: str, expected: object, tmp_path: Path) -> None:
    assert same(read_scalar(unquoted), expected)
    if expected not in (math.inf, -math.inf):
        assert same(read(f"a: {unquoted}\nb: '{unquoted}'\n", tmp_path), [{"a": expected, "b": unquoted}])


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", r'"\ud800"'])
def test_values_that_json_lacks_are_rejected(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"documents\.yaml: .* (not a number|not Unicode)"):
        read(f"a: [{text}]\n", tmp_path)


def test_keys_may_merge_other_mappings(tmp_path: Path) -> None:
    assert read("a: &a {x: 1}\nb: {<<: *a, y1: 2}\n", tmp_path) == [{"a": {"x": 1}, "b": {"x": 1, "y1": 2}}]


@pytest.mark.parametrize("name", ["25921e05", "1386", "2e3", "0x17", "2026-01-02", "n", "null", "0o17"])
def test_dry_run_of_a_name_like_a_number_is_read_as_text(name: str, tmp_path: Path) -> None:
    words = ["submit", f"https://example.org/{name}.json", "--pulses", name, "--dry-run"]
    printed = CliRunner().invoke(group, words)
    assert printed.exit_code == 0, printed.output
    assert yaml.safe_load(printed.stdout)["metadata"]["name"] == name
    (tmp_path / "scan.yaml").write_text(printed.stdout)
    found = read_manifest(tmp_path / "scan.yaml").settings
    assert (found.name, found.pulse_series) == (name, name)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_lacks_are_rejected(number: str) -> None:
    done = CliRunner().invoke(group, ["submit", "https://example.org/a.json", "--set", f"seeds={number}", "--dry-run"])
    assert done.exit_code != 0
    assert ("spec.seeds" in str(done.exception)) == (number != "1e999")


def test_deep_value_is_one_error() -> None:
    words = [
        "submit",
        "https://example.org/a.json",
        "--set",
        f"reconstruction.parameters.a={'[' * 50_000}",
        "--dry-run",
    ]
    done = CliRunner().invoke(group, words)
    assert str(done.exception).endswith(" is nested too deeply for a value")
