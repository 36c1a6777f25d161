"""The photon table: fluence and arrival times around a cascade in homogeneous ice, and its file.

One table serves all ice: lengths and times scale with the effective scattering length
(docs/explanation/likelihood.md). The file is an npz of plain arrays (never pickled objects), made by
``python -m skymap_scanner.reconstruction.millipede.generate``.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING

FORMAT = "skymap-scanner photon table 1"
#: A table larger than this, unpacked, is not one of ours; bytes.
LIMIT = 64 << 20


@dataclass(frozen=True)
class PhotonTable:
    """Light of one photon emitted by a cascade, in ice of effective scattering length ``scattering`` (m).

    ``radius`` (n_r,): distance, m, equal steps of ln r; ``cos_psi`` (n_psi,): angle between the cascade's axis and the
    line to the receiver, equal steps within (-1, 1); ``delay`` (n_t,): after the direct light, ns, 1 and then equal
    steps of ln t. ``fluence`` (n_r, n_psi): 1/m2; ``fluence_error``: its statistical error; ``cdf`` (n_r, n_psi, n_t):
    share of the light that has come by ``delay``; the last is 1. ``absorption`` (m) is that of the simulated ice.
    """

    radius: NDArray[np.float64]
    cos_psi: NDArray[np.float64]
    delay: NDArray[np.float64]
    fluence: NDArray[np.float64]
    fluence_error: NDArray[np.float64]
    cdf: NDArray[np.float64]
    scattering: float
    absorption: float
    origin: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Twelve hex digits of the SHA-256 of the arrays."""
        content = hashlib.sha256()
        for name in _ARRAYS:
            content.update(np.ascontiguousarray(getattr(self, name), np.float64).tobytes())
        return content.hexdigest()[:12]


_ARRAYS = {"radius": 1, "cos_psi": 1, "delay": 1, "fluence": 2, "fluence_error": 2, "cdf": 3}


def encode(table: PhotonTable) -> bytes:
    """Write the table's file; the distribution function is kept in single precision."""
    about = {
        "format": FORMAT,
        "scattering": table.scattering,
        "absorption": table.absorption,
        "origin": dict(table.origin),
    }
    arrays = {name: getattr(table, name) for name in _ARRAYS} | {"cdf": table.cdf.astype(np.float32)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about, sort_keys=True)), **arrays)
    return buffer.getvalue()


def decode(data: bytes, name: str = "photon table") -> PhotonTable:
    """Read a table's file and check every promise of `PhotonTable`.

    Raises
    ------
    InputError
        When ``data`` is not such a file; ``name`` says which.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        content = np.load(io.BytesIO(data), allow_pickle=False) if size <= LIMIT else {}
        about = json.loads(str(content["about"]))
        arrays = {key: np.asarray(content[key], np.float64) for key in _ARRAYS}
        table = PhotonTable(
            **arrays,
            scattering=float(about["scattering"]),
            absorption=float(about["absorption"]),
            origin={str(key): int(value) for key, value in about["origin"].items()},
        )
    except Exception as error:  # damaged bytes make zip, zlib, numpy and json raise almost anything
        raise InputError(f"{name}: not a photon table ({error}); make one with the generate command") from error
    if about.get("format") != FORMAT:
        raise InputError(f"{name}: format {about.get('format')!r}, expected {FORMAT!r}; make the table again")
    fault = find_fault(table)
    if fault:
        raise InputError(f"{name}: {fault}; make the table again")
    return table


def find_fault(table: PhotonTable) -> str | None:
    """Say what is wrong with a table, None when nothing is."""
    for key, dimensions in _ARRAYS.items():
        value = getattr(table, key)
        if value.ndim != dimensions:
            return f"{key} has {value.ndim} dimensions, expected {dimensions}"
        if not np.isfinite(value).all():
            return f"{key} holds values that are not finite"
    shape = (len(table.radius), len(table.cos_psi), len(table.delay))
    checks = {
        "at least 4 radii, 4 angles and 4 delays are needed": min(shape) >= 4,
        f"cdf has shape {table.cdf.shape}, expected {shape}": table.cdf.shape == shape,
        "fluence and its error do not match the axes": table.fluence.shape == table.fluence_error.shape == shape[:2],
    }
    for fault, passed in checks.items():
        if not passed:
            return fault
    checks = {
        "radius must be positive, in equal steps of its logarithm": table.radius[0] > 0
        and _is_even(np.log(np.maximum(table.radius, 1e-300))),
        "cos_psi must lie within (-1, 1), in equal steps": table.cos_psi[0] > -1
        and table.cos_psi[-1] < 1
        and _is_even(table.cos_psi),
        "delay must start at 1 ns, in equal steps of its logarithm": abs(table.delay[0] - 1) < 1e-9
        and _is_even(np.log(np.maximum(table.delay, 1e-300))),
        "fluence must be positive": bool((table.fluence > 0).all()),
        "cdf must rise from 0 to 1": bool(
            (table.cdf[:, :, 0] >= 0).all() and (np.diff(table.cdf) >= 0).all() and (table.cdf[:, :, -1] == 1).all()
        ),
        f"the ice must have an effective scattering length of {TABLE_SCATTERING} m": table.scattering
        == TABLE_SCATTERING,
        "the ice must have an absorption length": 1 < table.absorption < 1000,
    }
    return next((fault for fault, passed in checks.items() if not passed), None)


def load(path: str | Path | None = None) -> PhotonTable:
    """Read the table at ``path``, or the one that comes with the package.

    Raises
    ------
    InputError
        When the file cannot be read or is not a photon table.
    """
    if path is None:
        return decode(files(__package__).joinpath("photon_table.npz").read_bytes(), "photon_table.npz of the package")
    try:
        if Path(path).stat().st_size > LIMIT:
            raise InputError(f"{path}: larger than a photon table may be ({LIMIT} bytes)")
        return decode(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read the photon table: {error.strerror}") from error


def _is_even(axis: NDArray[np.float64]) -> bool:
    """Say whether the steps of an axis are equal and rising."""
    steps = np.diff(axis)
    return bool((steps > 0).all() and np.allclose(steps, steps.mean(), rtol=1e-6))
