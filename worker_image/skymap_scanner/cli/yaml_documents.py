"""YAML documents, read as ``kubectl`` reads them."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from skymap_scanner.errors import InputError

MAX_BYTES = 1 << 20
#: What a manifest may come to; the longest list of pixels has 4096.
MAX_VALUES = 100_000


def read_documents(path: Path) -> list[Any]:
    """Return the documents of a file; empty ones are left out.

    Raises
    ------
    InputError
        If it cannot be read, is too large for a manifest, or is no YAML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES} bytes: is it a manifest?")
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
        for document in documents:
            _check_size(document, path)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply for a manifest") from error
    return documents


def _check_size(document: Any, path: Path) -> None:
    """Count what a document comes to when its aliases are written out: a few lines can come to billions.

    Raises
    ------
    InputError
        If that is more than a manifest has, or an alias stands in what it is an alias of.
    """
    known: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in known:
            known[id(value)] = MAX_VALUES  # until it is known: an alias of itself has no end
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(map(size, inner))
        return known[id(value)]

    if size(document) > MAX_VALUES:
        raise InputError(f"{path} comes to more than {MAX_VALUES} values when its aliases are written out")


class _Loader(yaml.SafeLoader):
    """Takes 1e5 for a number and 2026-01-02 for text, as YAML 1.2 does, and no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as it is in the class above
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice, where PyYAML would take the last."""
        scalars = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set()
        for key in scalars:
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key[1]!r} stands twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
