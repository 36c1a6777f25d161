"""Arrays from npz files that somebody else wrote: all sizes are compared before any memory is taken.

``np.load`` makes an array of the shape in its header, so a file of some hundred bytes can ask for petabytes. Here an
array must have just the bytes that its member of the archive holds, and all members together are limited. Nothing is
unpickled.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from skymap_scanner.errors import InputError

#: Compressions that numpy writes.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Bit of a member's flags: it is encrypted.
_ENCRYPTED = 1
#: How the headers of arrays are read, by the version of their form.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(content: bytes, *, limit: int, most: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name; they are read-only.

    ``limit``: largest size of all arrays together (bytes, decompressed), ``most``: largest number of arrays. Raises
    InputError when the file is damaged, too large, encrypted, or holds anything else than arrays of numbers and text.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members, limit, most)
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, OverflowError, NotImplementedError) as error:
        raise InputError(f"damaged npz ({error})") from error


def _check_members(members: Sequence[zipfile.ZipInfo], limit: int, most: int) -> None:
    if len(members) > most:
        raise InputError(f"{len(members)} members, more than the {most} arrays that there may be")
    size = sum(member.file_size for member in members)
    if size > limit:
        raise InputError(f"would take {size} bytes, more than the {limit} allowed")
    names = [member.filename for member in members]
    for member in members:
        if not member.filename.endswith(".npy"):
            raise InputError(f"holds {member.filename[:100]!r}, which is no array: give a file that only holds arrays")
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{member.filename[:100]!r} is encrypted: decrypt the file first")
        if member.compress_type not in _COMPRESSIONS:
            raise InputError(f"{member.filename[:100]!r} is compressed in a way that numpy does not write")
        if names.count(member.filename) > 1:
            raise InputError(f"{member.filename[:100]!r} comes twice")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array; raises InputError, or what zip, zlib and numpy raise for damaged bytes."""
    with archive.open(member) as stream:
        data = stream.read(member.file_size)  # with a size, which limits what is decompressed, too
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise InputError(f"{member.filename[:100]!r} has version {version} of its form, which is not read")
    try:
        shape, by_column, dtype = _HEADERS[version](file)
    except Exception as error:  # numpy evaluates the header as a literal, which raises almost anything
        raise InputError(f"damaged npz: the header of {member.filename[:100]!r} is invalid") from error
    if dtype.hasobject:
        raise InputError(f"{member.filename[:100]!r} holds Python objects, which would have to be unpickled")
    left = len(data) - file.tell()
    count = math.prod(shape)
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or count * dtype.itemsize != left:
        raise InputError(f"{member.filename[:100]!r} has {left} bytes, which are no array of {dtype} and shape {shape}")
    return np.frombuffer(data, dtype, count, file.tell()).reshape(shape, order="F" if by_column else "C")
