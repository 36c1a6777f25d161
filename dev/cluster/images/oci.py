"""Write an image as an OCI archive, from the folders that are its layers: what needs no container engine.

    python3 oci.py ARCHIVE NAME:TAG FOLDER... [--entrypoint WORD]... [--user UID] [--env KEY=VALUE]...
                   [--workdir FOLDER] [--label KEY=VALUE]...

Each FOLDER is laid over the one before it. The same folders give the same bytes: everything belongs to root, times are
zero. The archive is what ``ctr images import`` and ``kind load image-archive`` read (OCI image format 1.0,
https://github.com/opencontainers/image-spec). The standard library is enough, so that any Python can run it.
"""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

MEDIA = "application/vnd.oci.image"
EPOCH = "1970-01-01T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The names that images give to machines (GOARCH), by those that the kernel gives.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Blob:
    """A part of an image: its bytes in a file, and what its parents say of it."""

    path: Path
    media: str
    digest: str
    size: int

    def described(self, **more: object) -> dict[str, object]:
        """Give what a parent says of it, and ``more``."""
        return {"mediaType": self.media, "digest": f"sha256:{self.digest}", "size": self.size, **more}


@dataclass(frozen=True)
class Layer(Blob):
    """A packed folder; ``plain_digest`` and ``plain_size`` (bytes) are those of what was packed."""

    plain_digest: str
    plain_size: int


class _Hashed(io.RawIOBase):
    """Pass bytes on, and hash them on the way."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to, self.hash, self.size = to, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.size += len(data)
        self._to.write(data)
        return len(data)


def write_layer(folder: Path, into: Path) -> Layer:
    """Pack one folder."""
    path = into / f"layer-{len(list(into.iterdir()))}"
    with path.open("wb") as file:
        packed = _Hashed(file)
        # The fastest level: an archive is read once, on the machine that it was made on.
        with gzip.GzipFile(
            fileobj=cast("IO[bytes]", packed), mode="wb", compresslevel=1, mtime=0, filename=""
        ) as pressed:
            plain = _Hashed(cast("IO[bytes]", pressed))
            with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for name in sorted(_names(folder)):
                    tar.add(folder / name, arcname=name, recursive=False, filter=_anonymous)
    media = f"{MEDIA}.layer.v1.tar+gzip"
    return Layer(path, media, packed.hash.hexdigest(), packed.size, plain.hash.hexdigest(), plain.size)


def _names(folder: Path) -> list[str]:
    """Give every path below a folder; links are not followed."""
    return [
        os.path.relpath(os.path.join(base, name), folder)  # noqa: PTH118 - os.walk speaks in strings
        for base, folders, files in os.walk(folder)
        for name in folders + files
    ]


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def write_json(value: Mapping[str, object], media: str, into: Path) -> Blob:
    """Store a document of the image."""
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = into / digest
    path.write_bytes(data)
    return Blob(path, media, digest, len(data))


def write_image(archive: Path, name: str, layers: Sequence[Path], process: Mapping[str, object]) -> int:
    """Write the archive of an image, and return how large it is when unpacked (bytes).

    ``process`` is the image configuration's ``config``: Entrypoint, User, Env, Labels.
    """
    machine = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        into = Path(temporary)
        packed = [write_layer(folder, into) for folder in layers]
        contents = [f"sha256:{layer.plain_digest}" for layer in packed]
        described: dict[str, object] = {"created": EPOCH, "config": dict(process), **machine}
        described["rootfs"] = {"type": "layers", "diff_ids": contents}
        config = write_json(described, f"{MEDIA}.config.v1+json", into)
        parts = {"config": config.described(), "layers": [layer.described() for layer in packed]}
        manifest = write_json(
            {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", **parts}, f"{MEDIA}.manifest.v1+json", into
        )
        # Two readers, two names of the same thing: the standard's, and containerd's.
        named = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
        entry = manifest.described(annotations=named, platform=machine)
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": [entry]}
        whole = into / "archive"
        with tarfile.open(whole, "w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps(index, sort_keys=True).encode())
            blobs = {blob.digest: blob for blob in (config, manifest, *packed)}
            for digest, blob in sorted(blobs.items()):
                tar.add(blob.path, arcname=f"blobs/sha256/{digest}", filter=_anonymous)
        whole.replace(archive)
    return sum(layer.plain_size for layer in packed)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def main() -> None:
    """Read the command line and write the archive."""
    parser = argparse.ArgumentParser(description="Write an image as an OCI archive, from the folders of its layers.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("name", help="name and tag, as localhost/worker:1")
    parser.add_argument("layers", type=Path, nargs="+", metavar="folder", help="a layer; the first is the lowest")
    parser.add_argument("--entrypoint", action="append", default=[], metavar="WORD", help="once for each word")
    parser.add_argument("--user", default="0", help="who the process is: UID or UID:GID")
    parser.add_argument("--workdir", default="/", help="where the process starts")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="once for each variable")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="once for each label")
    given = parser.parse_args()
    environment = {key: value for key, _, value in (word.partition("=") for word in (PATH, *given.env))}
    process = {
        "User": given.user,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "WorkingDir": given.workdir,
    }
    process["Labels"] = dict(word.split("=", 1) for word in given.label)
    if given.entrypoint:
        process["Entrypoint"] = given.entrypoint
    unpacked = write_image(given.archive, given.name, given.layers, process)
    sizes = f"{given.archive.stat().st_size / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked"
    print(f"{given.name}: {sizes}, {len(given.layers)} layers", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
