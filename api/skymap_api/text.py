"""Text from outside, such as an event, a server or a pod's log, made safe to print."""

from __future__ import annotations


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
