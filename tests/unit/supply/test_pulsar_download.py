"""Pulsar's server is used only if it has the checksum in the repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "dev/pulsar"
#: What Maven Central serves.
SERVED = "a damaged archive"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Copy the scripts, beside a Java that only tells its version and a Maven that serves another file."""
    folder = tmp_path / "pulsar"
    shutil.copytree(SOURCE, folder)
    shutil.copy(SOURCE.parent / "download.sh", tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    served = 'for word; do case "$word" in -Dfolder=*) folder="${word#*=}" ;; esac; done\nmkdir -p "$folder"\n'
    served += f"printf '{SERVED}' >\"$folder/pulsar-server-distribution-4.0.8-bin.tar.gz\""
    programs = {"java": "echo 'openjdk version \"17.0.1\"' >&2", "javac": "exit 9", "jar": "exit 9", "mvn": served}
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    return folder


def install(scripts: Path) -> subprocess.CompletedProcess[str]:
    folder = scripts.parent
    env = {"PATH": f"{folder}/tools:/usr/local/bin:/usr/bin:/bin", "XDG_CACHE_HOME": f"{folder}/cache"}
    return subprocess.run([scripts / "install.sh"], capture_output=True, text=True, check=False, env=env)


def test_other_checksum_is_refused(scripts: Path) -> None:
    done = install(scripts)
    assert done.returncode == 1
    assert "pulsar-server-distribution-4.0.8-bin.tar.gz: FAILED" in done.stderr
    assert f"has another SHA-512 than {scripts}/pulsar.sha512" in done.stderr.splitlines()[-1]
    assert [path.name for path in (scripts.parent / "cache/skymap-scanner/pulsar/4.0.8").iterdir()] == ["lock"]


def test_version_without_checksum_is_refused(scripts: Path) -> None:
    checksum = scripts / "pulsar.sha512"
    checksum.write_text(checksum.read_text().replace("4.0.8", "4.0.7"))
    done = install(scripts)
    assert done.returncode == 1
    assert "pulsar.sha512 has no checksum of pulsar-server-distribution-4.0.8-bin.tar.gz" in done.stderr


def test_matching_file_is_unpacked(scripts: Path) -> None:
    checksum = subprocess.run(["sha512sum"], input=SERVED, capture_output=True, text=True, check=True).stdout.split()[0]
    (scripts / "pulsar.sha512").write_text(f"{checksum}  pulsar-server-distribution-4.0.8-bin.tar.gz\n")
    assert "gzip: stdin: not in gzip format" in install(scripts).stderr
