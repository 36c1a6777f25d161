"""Text from outside, such as an event, a server or a pod's log, made safe to print."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

#: What is said of a proxy that cannot be used, such as one of SOCKS; its address may hold a password.
INVALID_PROXY = (
    "the proxy that the environment names is no http:// or https:// address, or NO_PROXY is invalid: correct *_PROXY"
)


def printable(text: str) -> str:
    """Return ``text`` with escapes for what a terminal would interpret or could not print; line ends stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def printable_line(text: str) -> str:
    """Return the same in one line, with escapes for line ends too."""
    return printable(text).replace("\n", "\\n")


def bounded_line(text: str, longest: int) -> str:
    """Return a message in one line of at most ``longest`` characters (at least 1).

    Runs of white space become one blank, and an ellipsis stands for what is left out.
    """
    line = printable(" ".join(text[: 4 * longest].split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


#: Largest size of a token or another secret in a file (bytes).
LONGEST_SECRET = 16 * 1024


def is_token(text: str) -> bool:
    """Return whether ``text`` can be a token in an HTTP header: printable ASCII without blanks (RFC 6750)."""
    return text.isascii() and text.isprintable() and " " not in text


def shell_line(words: Iterable[str]) -> str:
    """Return a command as it can be typed: quoted where needed, in ASCII where a terminal could not print it."""
    return " ".join(shlex.quote(word) if word.isprintable() else _ansi_c_quoted(word) for word in words)


def _ansi_c_quoted(word: str) -> str:
    """Return a word as ``$'...'``, which bash, zsh and ksh read byte by byte."""
    kept = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(kept)}'"
