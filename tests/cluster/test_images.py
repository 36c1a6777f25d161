"""The images of this project: both recipes agree, and the images work in restricted pods."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dev.supply import lock
from testing.cluster.cluster import SCRIPTS, Namespace
from testing.cluster.fixtures import build_image
from testing.cluster.workloads import pod
from testing.waiting import eventually

ROOT = SCRIPTS.parents[1]
RECIPES = {"worker": ROOT / "worker_image/Dockerfile", "operator": ROOT / "operator/Dockerfile"}
PREFIX = "/opt/skymap-scanner"

#: Users that a pod may run as: the images' own, and an arbitrary one.
USERS = [1000, 123456]


def final_stage(dockerfile: Path) -> dict[str, Any]:
    """Return the image configuration that the last stage of a Dockerfile sets."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = re.split(r"^FROM .*$", text, flags=re.MULTILINE)[-1].splitlines()
    found: dict[str, Any] = {"Env": {}, "Labels": {}}
    for line in filter(None, lines):
        word, rest = line.split(maxsplit=1)
        if word in {"ENV", "LABEL"}:
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            found["Env" if word == "ENV" else "Labels"] |= pairs
        elif word == "ENTRYPOINT":
            found["Entrypoint"] = json.loads(rest)
        elif word in {"USER", "WORKDIR"}:
            found["User" if word == "USER" else "WorkingDir"] = rest
    return found


@dataclass(frozen=True)
class Archive:
    """An image that was built without a container engine: its configuration, and the names of its files."""

    configuration: dict[str, Any]
    files: frozenset[str]

    @property
    def installed(self) -> dict[str, str]:
        """The installed distributions with their versions."""
        found = (re.search(r"/site-packages/([^/]+)-([^/-]+)\.dist-info/METADATA$", name) for name in self.files)
        return {normalized(one[1]): one[2] for one in found if one}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_archive(path: Path) -> Archive:
    with tarfile.open(path) as tar:

        def blob(described: dict[str, str]) -> bytes:
            return member(tar, f"blobs/{described['digest'].replace(':', '/')}")

        manifest = json.loads(blob(json.loads(member(tar, "index.json"))["manifests"][0]))
        files: set[str] = set()
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(blob(layer))) as contents:
                files |= {f"/{name}" for name in contents.getnames()}
        return Archive(json.loads(blob(manifest["config"]))["config"], frozenset(files))


def member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture(scope="module", params=["worker", "operator"])
def made(request: pytest.FixtureRequest, engine: str) -> tuple[str, Archive]:
    """An image that was built without a container engine."""
    archive = build_image(request.param)[1]
    if archive.stem.endswith("-docker"):
        pytest.skip("images are made by the Dockerfiles here")
    return request.param, read_archive(archive)


def test_both_image_recipes_agree(made: tuple[str, Archive]) -> None:
    kind, archive = made
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    wanted = final_stage(RECIPES[kind])
    wanted["Labels"] = {name: value.replace("${VERSION}", version) for name, value in wanted["Labels"].items()}
    found = archive.configuration
    assert {**found, "Env": dict(pair.split("=", 1) for pair in found["Env"])} == wanted


def test_image_contains_the_pinned_packages(made: tuple[str, Archive]) -> None:
    kind, archive = made
    release = next(one[1] for name in archive.files if (one := re.search(r"/python(3\.\d+)/site-packages/", name)))
    image = {"python_version": release, "python_full_version": f"{release}.0"}
    pins = [pin for name in lock.IMAGES[kind] for pin in lock.read_pins((lock.FOLDER / f"{name}.txt").read_text())]
    wanted = {pin.name: str(pin.version) for pin in pins if pin.applies(image)}
    assert {name: version for name, version in archive.installed.items() if name != "skymap-scanner"} == wanted
    assert "skymap-scanner" in archive.installed


def test_image_contains_only_what_it_needs(made: tuple[str, Archive]) -> None:
    kind, archive = made
    sources = {name for name in archive.files if re.search(rf"{PREFIX}/.*/site-packages/.*\.py$", name)}
    compiled = {re.sub(r"/__pycache__/([^/]+)\.cpython-\d+\.pyc$", r"/\1.py", name) for name in archive.files}
    assert len(sources - compiled) < len(sources) / 500  # except templates, which are no Python
    assert not any(re.search(r"/(pip|setuptools|hatchling)/__init__\.py$", name) for name in archive.files)
    kernels = {name for name in archive.files if name.startswith(f"{PREFIX}/kernels/")}
    if kind == "worker":
        assert sum(name.endswith("/complete") for name in kernels) == 1
        assert len([name for name in kernels if name.endswith(".nbc")]) > 20
        assert not any("/skymap_operator/" in name or name.endswith("/bin/skymap-operator") for name in archive.files)
    else:
        assert kernels == set()
        assert not {"numba", "scipy", "astropy", "numpy"} & archive.installed.keys()
        assert not any("/skymap_scanner/" in name or name.endswith("/bin/skymap-scanner") for name in archive.files)


@pytest.mark.parametrize("words", [[], ["workers"]])
def test_unknown_image_is_rejected(words: list[str]) -> None:
    refused = subprocess.run([SCRIPTS / "images/build.sh", *words], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "cluster: usage: build.sh worker|operator|pulsar [ARCHIVE]\n"


def test_archive_is_written_to_the_given_path(engine: str, tmp_path: Path) -> None:
    name, kept = build_image("operator")
    command = [SCRIPTS / "images/build.sh", "operator", tmp_path / "operator.tar"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert made.stdout == f"{name} {tmp_path / 'operator.tar'}\n"
    assert (tmp_path / "operator.tar").read_bytes() == kept.read_bytes()


#: Prints the number of functions that numba compiled for one fit, and the fit with all digits.
FIT = """
from numba.core import event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.reconstruction.millipede import Millipede
from skymap_scanner.reconstruction.protocol import Start
from skymap_scanner.event.demo import demo_event_path

prepared = prepare(read_event(str(demo_event_path())))
with event.install_recorder("numba:compile") as compilations:
    fitter = Millipede().set_up(prepared)
    fit = fitter.fit(Start(1.0, 1.0, tuple(map(float, prepared.vertex)), float(prepared.vertex_time)))
print(len(compilations.buffer), fit)
"""


def run(namespace: Namespace, image: str, user: int, *, command: list[str] | None = None, args: list[str]) -> str:
    """Run a pod without any writable volume; return its output."""
    name = f"pod-{uuid4().hex[:8]}"
    spec = pod(image, *(command or []), args=args)
    spec |= {"restartPolicy": "Never", "volumes": []}
    spec["securityContext"] = spec["securityContext"] | {"runAsUser": user, "runAsGroup": user}
    (container,) = spec["containers"]
    container["volumeMounts"] = []
    if command is None:
        del container["command"]
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    ended = {"Succeeded", "Failed"}
    phase = eventually(lambda: namespace.get("pod", name)["status"].get("phase"), lambda phase: phase in ended)
    output = namespace.kubectl("logs", name)
    assert phase == "Succeeded", output
    return output


@pytest.mark.parametrize("user", USERS)
def test_worker_starts_with_precompiled_read_only_kernels(restricted: Namespace, worker_image: str, user: int) -> None:
    assert run(restricted, worker_image, user, args=["--version"]) == scanner("-m", "skymap_scanner", "--version")
    there = run(restricted, worker_image, user, command=[f"{PREFIX}/bin/python", "-c", FIT], args=[])
    assert there.startswith("0 Fit(")
    assert there == scanner("-c", FIT)  # the same bits as on this machine


def test_worker_can_publish_notices_to_kafka(restricted: Namespace, worker_image: str) -> None:
    load = "from skymap_scanner.notices.kafka_channel import KafkaChannel; print(KafkaChannel.__name__)"
    assert run(restricted, worker_image, USERS[0], command=[f"{PREFIX}/bin/python", "-c", load], args=[]) == (
        "KafkaChannel\n"
    )


def scanner(*words: str) -> str:
    """Run this machine's Python; return its output."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout


def test_operator_starts_without_the_scanner_package(restricted: Namespace, operator_image: str) -> None:
    assert run(restricted, operator_image, USERS[1], args=["--help"]).startswith("Usage: skymap-operator ")
    find = "import importlib.util as u; print([n for n in ('numba', 'numpy', 'skymap_scanner') if u.find_spec(n)])"
    assert run(restricted, operator_image, USERS[1], command=["python", "-c", find], args=[]) == "[]\n"
