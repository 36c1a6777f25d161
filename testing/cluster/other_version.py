"""``skymap-operator`` as another version of it, which gives pods what other versions do not.

    python -m testing.cluster.other_version VERSION OPTION FIELD [ARGUMENT ...]

Every container gets ``OPTION`` and the environment variable ``OTHER_VERSION``. A scan whose spec has ``FIELD`` cannot
be read. An empty text stands for neither.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pydantic import model_validator

import skymap_operator.version

VERSION, OPTION, FIELD, *ARGUMENTS = sys.argv[1:]
# Before anything imports it.
skymap_operator.version.VERSION = VERSION

from skymap_api.resource import SkymapScan  # noqa: E402
from skymap_operator import start  # noqa: E402
from skymap_operator.observe import state  # noqa: E402


def with_option(build: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a function that builds containers with what only this version gives them."""

    def container(*given: Any) -> dict[str, Any]:
        made = build(*given)
        more = {"name": "OTHER_VERSION", "value": VERSION}
        return made | {"args": [*made["args"], OPTION], "env": [*made["env"], more]}

    return container


class WithoutField(SkymapScan):
    """The resource of a version that does not know a field of the spec."""

    @model_validator(mode="before")
    @classmethod
    def _field_is_unknown(cls, given: Any) -> Any:
        if FIELD in given["spec"]:
            raise ValueError(f"spec.{FIELD}: Extra inputs are not permitted")
        return given


if OPTION:
    for name in ("jobs", "workers"):
        module = import_module(f"skymap_operator.manifests.{name}")
        module.container = with_option(module.container)  # type: ignore[attr-defined]
if FIELD:
    state.SkymapScan = WithoutField  # type: ignore[misc]
sys.argv = ["skymap-operator", *ARGUMENTS]
start.main()
