"""Reconstructions: ways to fit one direction, found by name through entry points (``ENTRY_POINTS``)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

from skymap_scanner import __version__
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.reconstruction.protocol import Reconstruction

ENTRY_POINTS = "skymap_scanner.reconstructions"


def load(name: str, parameters: Mapping[str, Any] | None = None) -> Reconstruction:
    """Return the reconstruction of that name, made with ``parameters``.

    Raises ReconstructionError when there is none of that name, it cannot be imported, or it has no such parameter,
    InputError when a parameter has no possible value.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise ReconstructionError(
            f"no reconstruction is named {name!r}: there are {', '.join(sorted(points)) or 'none'}"
        )
    try:
        make = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ReconstructionError(
            f"reconstruction {name!r} ({points[name].value}) cannot be imported: {error}"
        ) from error
    given = dict(parameters or {})
    known: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):  # a class written in C may have no signature
        known = inspect.signature(make).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    unknown = sorted(given.keys() - known.keys())
    if known and unknown and not open_ended:
        raise ReconstructionError(
            f"reconstruction {name!r} has no parameter {', '.join(map(repr, unknown))}: it knows {', '.join(known)}"
        )
    try:
        made: Reconstruction = make(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"reconstruction {name!r} with {given}: {error}") from error
    return made


def software_of(reconstruction: Reconstruction) -> str:
    """Return what makes the fits of a scan: this version of the scanner, and the identity of the reconstruction.

    The fits of one map are all made by the same: others differ in their bits, or in what -ln L means.

    Raises ReconstructionError when the reconstruction, of another package, does not state its identity.
    """
    identity = getattr(reconstruction, "identity", None)
    if not isinstance(identity, str) or not identity or not identity.isascii() or not identity.isprintable():
        raise ReconstructionError(
            f"the reconstruction {type(reconstruction).__name__} states no identity, but {identity!r}: it must be "
            "printable ASCII that names its version (Reconstruction.identity in skymap_scanner.reconstruction.protocol)"
        )
    return f"skymap-scanner {__version__}, {identity}"
