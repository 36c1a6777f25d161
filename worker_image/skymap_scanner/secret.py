"""Secrets from the environment, or from files that it names.

Never from the command line or a URL: both end in process lists, histories and logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skymap_api.limited_file import read_limited
from skymap_api.text import LONGEST_SECRET
from skymap_scanner.errors import InputError


def secret_of(environment: Mapping[str, str], name: str) -> str | None:
    """Return the variable ``name``, or the content (without the last newline) of the file that ``NAME_FILE`` names.

    None if neither is set. Raises InputError if both are, or if the file cannot be read; the message has no secret.
    """
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value and path:
        raise InputError(f"{name} and {name}_FILE are both set: keep one of them")
    if path:
        try:
            with Path(path).open("rb") as file:
                value = read_limited(file, LONGEST_SECRET).decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name}_FILE: cannot read {path}: {error}") from error
    if not value:
        return None
    if not value.isprintable():
        raise InputError(f"{name} holds a character that no credential has, such as a line break")
    return value
