"""Reconstructions: what fits a task. Found by name through the entry points ``skymap_scanner.reconstructions``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.reconstruction.protocol import Reconstruction

GROUP = "skymap_scanner.reconstructions"


def load(name: str, parameters: Mapping[str, Any]) -> Reconstruction:
    """Make the reconstruction ``name`` with its parameters.

    Raises
    ------
    ReconstructionError
        If there is none of this name, it cannot be imported, or a parameter is unknown or wrong.
    """
    found: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise ReconstructionError(f"no reconstruction is named {name!r}: there are {', '.join(sorted(found))}")
    try:
        factory = found[name].load()
    except ImportError as error:
        raise ReconstructionError(f"reconstruction {name!r} cannot be imported: {error}") from error
    known = [key for key in inspect.signature(factory).parameters if key != "self"]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ReconstructionError(
            f"reconstruction {name!r} has no parameter {unknown[0]!r}: it knows {', '.join(known) or 'none'}"
        )
    made: Reconstruction = factory(**parameters)
    return made
