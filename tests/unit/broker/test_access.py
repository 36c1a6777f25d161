"""What it takes to reach a broker: its URL, and a token that can be sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymap_scanner.broker import Access
from skymap_scanner.broker.access import TOKEN_VARIABLE, split_url
from skymap_scanner.errors import InputError


@pytest.mark.parametrize("text", ["tokén", "two words", "two\nlines"])
def test_text_that_is_no_token_is_rejected_unprinted(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{text}\n", "utf-8")
    monkeypatch.setenv(TOKEN_VARIABLE, text)
    for access, source in (
        (Access(token_file=tmp_path / "token"), str(tmp_path / "token")),
        (Access(), TOKEN_VARIABLE),
    ):
        with pytest.raises(InputError, match="holds a character that no token has") as raised:
            access.token()
        assert str(raised.value).startswith(source)
        assert text not in str(raised.value)


def test_file_that_is_too_large_for_a_token_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a" * 10**6)
    with pytest.raises(InputError, match=r"cannot read the token in .*larger than the 16384 bytes allowed"):
        Access(token_file=tmp_path / "token").token()


def test_token_is_read_without_its_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    (tmp_path / "token").write_text("abc\n")
    assert (Access(token_file=tmp_path / "token").token(), Access().token()) == ("abc", None)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "é..b", "\udce9"])
def test_host_that_no_server_can_have_is_rejected(host: str) -> None:
    with pytest.raises(InputError, match="write pulsar://HOST:6650"):
        split_url(f"pulsar://{host}:6650")


@pytest.mark.parametrize("host", ["a", "a_b.example", "müller.example", "127.0.0.1"])
def test_host_of_any_language_is_kept(host: str) -> None:
    assert split_url(f"pulsar://{host}") == (host, 6650, False)
