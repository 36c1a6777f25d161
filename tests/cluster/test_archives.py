"""Images built without a container engine: the archive follows the OCI layout and is reproducible."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from testing.cluster.cluster import SCRIPTS


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Two folders: a program with a link to it, and a file over one of the first."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "bin").mkdir(parents=True)
    (lower / "bin/program").write_bytes(b"#!/bin/sh\n")
    (lower / "bin/program").chmod(0o755)
    (lower / "bin/alias").symlink_to("program")
    (lower / "note").write_text("lower")
    (lower / "tmp").mkdir()
    (lower / "tmp").chmod(0o1777)
    upper.mkdir()
    (upper / "note").write_text("upper")
    (upper / "large").write_bytes(os.urandom(3_000_000))
    return [lower, upper]


def make(archive: Path, layers: list[Path]) -> None:
    words = ["--entrypoint", "program", "--entrypoint", "now", "--user", "1:2", "--env", "A=B"]
    command = [sys.executable, SCRIPTS / "images/oci.py", archive, "localhost/test:1", *layers, *words]
    subprocess.run(command, check=True, capture_output=True)


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], described: dict[str, Any]) -> bytes:
    """Return the bytes of a descriptor, whose size and digest must match."""
    data = files[f"blobs/{described['digest'].replace(':', '/')}"]
    assert len(data) == described["size"]
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == described["digest"]
    return data


def test_archive_is_a_loadable_image(tmp_path: Path, layers: list[Path]) -> None:
    make(tmp_path / "image.tar", layers)
    files = read(tmp_path / "image.tar")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/test:1"
    assert entry["platform"]["os"] == "linux"
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    assert config["config"]["Entrypoint"] == ["program", "now"]
    assert config["config"]["User"] == "1:2"
    assert "A=B" in config["config"]["Env"]
    plain = [gzip.decompress(blob(files, layer)) for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in plain]
    assert len(files) == 2 + 2 + len(layers)

    with tarfile.open(fileobj=io.BytesIO(plain[0])) as tar:
        members = {entry.name: entry for entry in tar}
    assert list(members) == ["bin", "bin/alias", "bin/program", "note", "tmp"]
    assert members["bin/alias"].linkname == "program"
    assert [members[name].mode for name in ("bin/program", "tmp")] == [0o755, 0o1777]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in members.values()} == {(0, 0, "", 0)}
    with tarfile.open(fileobj=io.BytesIO(plain[1])) as tar:
        large = tar.extractfile("large")
        assert large is not None
        assert large.read() == (layers[1] / "large").read_bytes()


def test_same_folders_give_the_same_archive(tmp_path: Path, layers: list[Path]) -> None:
    make(tmp_path / "one.tar", layers)
    for path in layers[0].rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    make(tmp_path / "two.tar", layers)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lower", "one.tar", "two.tar", "upper"]
