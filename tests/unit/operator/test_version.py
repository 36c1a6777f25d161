"""Which of two versions of the operator is newer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_operator.version import VERSION, is_newer

ORDER = ["0.1.0rc2", "0.1.0rc10", "0.1.0", "0.1.1", "0.2.0.dev1", "0.2.0", "0.10.0", "1.0.0-alpha", "1.0.0", "next"]


@pytest.mark.parametrize(("older", "newer"), list(itertools.combinations(ORDER, 2)))
def test_versions_are_ordered(older: str, newer: str) -> None:
    assert is_newer(newer, than=older)
    assert not is_newer(older, than=newer)


@given(st.text(max_size=20))
def test_text_of_another_form_is_newer_than_any_version(text: str) -> None:
    assert not is_newer(text, than=text)
    assert is_newer(f"v{text}", than=VERSION)
    assert is_newer("9" * 10 + ".0.0", than=VERSION)


def test_builds_of_a_version_are_the_same() -> None:
    assert not is_newer("0.1.0+site.2", than="0.1.0")
    assert not is_newer("0.1.0", than="0.1.0+site.2")
