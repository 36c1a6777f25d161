"""What layered ice does to light on its way to a DOM, and the file of it.

The photon table is that of homogeneous ice. Between a source and a DOM, layered ice is given the two rates with which
the table describes best how much isotropic light gets from one to the other, and when, as photons that walk through the
layers tell (`ice_tables`). A mean over the straight line between the two is no substitute: light takes its way around
dusty layers. Two slopes say how the charge depends on the direction of the shower beyond the photon table: light that
starts into clear ice goes farther than light that starts into dust. Two more shape the arrival times: light that takes
its way around dust comes in another shape, and a DOM sees scattered light with another sensitivity than direct light.
All six numbers depend on the DOM's depth, on the distance, and on the angle to the vertical.

The files are npz of plain arrays, made by ``python -m skymap_scanner.reconstruction.ice_tables.generate``.
"""

from __future__ import annotations

import hashlib
import io
import math
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ice import Ice, ice_model, layer_height
from skymap_scanner.errors import InputError

# Nodes: cos eta in even steps from -1 to 1, the distance in even steps of its root up to FARTHEST (m).
N_COSINE, N_DISTANCE = 25, 16
FARTHEST = 500.0
ROOT_STEP = math.sqrt(FARTHEST) / (N_DISTANCE - 1)
#: Heights of the DOMs for which photons were followed: the lowest, the step and how many, m.
LOWEST, STEP, N_HEIGHT = -560.0, 10.0, 114
#: A DOM takes the column of rates that is nearest in height; between those that were simulated there is one more.
COLUMN_STEP = STEP / 2
N_COLUMN = 2 * N_HEIGHT - 1
#: Numbers of a node.
N_NUMBER = 6
#: Files hold multiples of this part of one.
_UNIT = 4096


def column_of(position: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return where the column of DOMs at ``position`` (n, 3), m, begins in the flat table.

    Sources are looked up at their own height in the layers (`detector.ice.layer_height`).
    """
    index = np.clip(np.rint((layer_height(position) - LOWEST) / COLUMN_STEP), 0, N_COLUMN - 1)
    return (index * (N_COSINE * N_DISTANCE * N_NUMBER)).astype(np.int32)


def layer_table(ice: Ice) -> NDArray[np.float32]:
    """Return the table of an ice model, (N_COLUMN, N_COSINE, N_DISTANCE, N_NUMBER).

    Its numbers: effective rates of scattering and of absorption, 1/m; and how ln(charge) grows with the vertical
    component of the shower's axis, and with cos psi; by how much sooner, and how much more spread, light comes
    (`light.shaped`). Where all lengths of the ice were multiplied by a factor, so are the inverses of the rates.
    Homogeneous ice, of any name, has the same rates everywhere, and zeros for the rest. Raises InputError for any other
    ice.
    """
    lengths = [ice.effective_scattering_length, ice.absorption_length]
    if all((length == length[0]).all() for length in lengths):
        even = np.array([1 / lengths[0][0], 1 / lengths[1][0], 0, 0, 0, 0], np.float32)
        return np.broadcast_to(even, (N_COLUMN, N_COSINE, N_DISTANCE, N_NUMBER)).copy()
    nominal, table = ice_model(ice.name), _load(ice.name).copy()
    for number, (there, here) in enumerate(
        zip((nominal.effective_scattering_length, nominal.absorption_length), lengths, strict=True)
    ):
        ratio = there / here
        if not np.allclose(ratio, ratio[0], rtol=1e-9):
            raise InputError(f"the layers of the ice {ice.name!r} are not those of its table")
        table[..., number] *= np.float32(ratio[0])
    return table


def digest(name: str) -> str:
    """Return eight hex digits of the SHA-256 of an ice model's file."""
    return hashlib.sha256(_read(name)).hexdigest()[:8]


def encode(numbers: NDArray[np.float64]) -> bytes:
    """Write the file of a table, (N_HEIGHT, N_NUMBER, N_COSINE, N_DISTANCE): logarithms of rates, and the rest."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, numbers=np.rint(numbers * _UNIT).astype(np.int16))
    return buffer.getvalue()


def _read(name: str) -> bytes:
    return files(__package__).joinpath(f"layers_{name}.npz").read_bytes()


@cache
def _load(name: str) -> NDArray[np.float32]:
    content = np.load(io.BytesIO(_read(name)), allow_pickle=False)
    known = content["numbers"] / _UNIT
    columns = np.empty((N_COLUMN, *known.shape[1:]))
    columns[::2] = known
    columns[1::2] = (known[:-1] + known[1:]) / 2
    for rate in (0, 1):  # the C library's exponential: the same bits on every processor
        columns[:, rate] = np.array([math.exp(x) for x in columns[:, rate].ravel()]).reshape(columns[:, rate].shape)
    return np.ascontiguousarray(np.moveaxis(columns, 1, -1), np.float32)
