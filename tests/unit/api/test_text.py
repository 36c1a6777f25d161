"""Text from outside, made safe to print, to type and to send."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skymap_api.text import is_token, shell_line

#: Words as a process gets them: any bytes but 0.
words = st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


@given(st.lists(words | st.text("aü ~$`'\"\\\n\t*?#!-", max_size=6), min_size=1, max_size=20))
@example(["M\udcfcller", "'", "\\", "a'\udcfc\\1", "\udcfc7", "", "--", "ü", "$HOME", "a b", "\n"])
def test_command_line_is_read_by_a_shell_as_it_was(given: list[str]) -> None:
    shown = shell_line(given)
    assert shown.isprintable()
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {shown}"], capture_output=True, check=True, env=os.environ | {"LC_ALL": "C"}
    )
    assert [os.fsdecode(one) for one in done.stdout.split(b"\0")[:-1]] == given


def test_plain_words_stay_as_they_are() -> None:
    assert shell_line(["run", "a b", "ü.json", "-o", "M\udcfcller"]) == r"run 'a b' 'ü.json' -o $'M\374ller'"


@pytest.mark.parametrize("text", ["abc.d-e_f~+/==", "eyJhbGciOiJIUzI1NiJ9.e30.x", "!#%"])
def test_printable_ascii_is_a_token(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["a b", "tokén", "a\nb", "a\tb", "\x7f", "\udcfc"])
def test_other_text_is_no_token(text: str) -> None:
    assert not is_token(text)
