"""Arrays of hostile npz files: one error, soon, and without memory; those of numpy are read as numpy reads them."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.unit.security.conftest import at_most

from skymap_scanner.errors import InputError
from skymap_scanner.npz import read_arrays

LIMIT = 1 << 20


def read(content: bytes, most: int = 4) -> dict[str, np.ndarray[Any, Any]]:
    return read_arrays(content, limit=LIMIT, most=most)


def saved(save: Any = np.savez, **members: object) -> bytes:
    file = io.BytesIO()
    save(file, **members)
    return file.getvalue()


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return file.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + version + size + header.encode() + b"\n" + data


def shaped(shape: str, descr: str = "'<f8'") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", bytes(16))


def encrypted(content: bytes) -> bytes:
    """Set the flag of an encrypted member in both of its headers."""
    local, central = content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8
    changed = bytearray(content)
    changed[local] |= 1
    changed[central] |= 1
    return bytes(changed)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@given(array=arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)))
def test_arrays_are_read_as_numpy_reads_them(save: Any, array: np.ndarray[Any, Any]) -> None:
    content = saved(save, one=array, turned=np.asfortranarray(array))
    with np.load(io.BytesIO(content)) as wanted:
        found = read(content)
        assert list(found) == list(wanted)
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            assert found[name].shape == wanted[name].shape
            assert found[name].tobytes() == wanted[name].tobytes()


DEEP = "(" * 4000
HOSTILE = {
    "petabytes": (archive({"a.npy": shaped("(1000000000000000,)")}), "which are no array"),
    "petabytes in many dimensions": (archive({"a.npy": shaped("(" + "4294967296, " * 30 + ")")}), "are no array"),
    "a negative shape": (archive({"a.npy": shaped("(-2,)")}), "which are no array"),
    "two negative lengths": (archive({"a.npy": shaped("(-1, -2)")}), "which are no array"),
    "too few bytes": (archive({"a.npy": shaped("(3,)")}), "has 16 bytes, which are no array"),
    "too many bytes": (archive({"a.npy": shaped("(1,)")}), "has 16 bytes, which are no array"),
    "items without bytes": (
        archive({"a.npy": npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}")}),
        "which are no array",
    ),
    "objects": (saved(a=np.array([{}], object)), "Python objects, which would have to be unpickled"),
    "objects in a field": (archive({"a.npy": shaped("(1,)", "[('x', '|O')]")}), "Python objects"),
    "a long header": (archive({"a.npy": npy("{" + " " * 200_000 + "}", version=b"\2\0")}), "damaged npz"),
    "a deep header": (archive({"a.npy": npy(DEEP)}), "damaged npz"),
    "a header that is code": (archive({"a.npy": npy("__import__('os').abort()")}), "damaged npz"),
    "an unknown version": (archive({"a.npy": npy("{}", version=b"\3\0")}), "which is not read"),
    "no array": (archive({"a.npy": b"hello"}), "damaged npz"),
    "a bomb": (archive({"a.npy": bytes(LIMIT + 1)}, zipfile.ZIP_DEFLATED), "would take 1048577 bytes"),
    "bombs in sum": (archive({f"{n}.npy": bytes(LIMIT // 2) for n in range(3)}, zipfile.ZIP_DEFLATED), "would take"),
    "many members": (archive({f"{n}.npy": b"" for n in range(5)}), "5 members, more than the 4 arrays"),
    "a foreign member": (archive({"run.sh": b"exit"}), r"holds 'run\.sh', which is no array: give a file that only"),
    "a folder": (archive({"a.npy/": b""}), "which is no array"),
    "an encrypted member": (encrypted(saved(a=np.zeros(2))), r"'a\.npy' is encrypted: decrypt the file first"),
    "another compression": (archive({"a.npy": shaped("(2,)")}, zipfile.ZIP_LZMA), "in a way that numpy does not write"),
    "no archive": (b"PK\3\4 and nothing else", "damaged npz"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_file_is_one_error_without_memory(content: bytes, message: str) -> None:
    with at_most(4), pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_comes_twice_is_an_error() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("a.npy", shaped("(2,)"))
        out.writestr("a.npy", shaped("(2,)"))
    with pytest.raises(InputError, match=r"'a\.npy' comes twice"):
        read(file.getvalue())


def test_member_that_is_longer_than_it_says_is_not_decompressed() -> None:
    content = bytearray(archive({"a.npy": bytes(100 * LIMIT)}, zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # where the header has the size
        place = content.index(signature) + offset
        content[place : place + 4] = struct.pack("<I", 200)
    with at_most(4), pytest.raises(InputError, match="damaged npz"):
        read(bytes(content))


@given(st.data())
def test_damaged_file_raises_nothing_but_input_errors(data: st.DataObject) -> None:
    content = bytearray(saved(np.savez_compressed, header=np.array([(1, "a")], "i8,U3"), level=np.arange(9.0)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        read(bytes(content[: data.draw(st.integers(0, len(content)))]))
