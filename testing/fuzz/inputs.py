"""What users and clusters give: manifests, URLs, and the stream of ``fetch``."""

from __future__ import annotations

import io
import ipaddress
import json
import tarfile
import tempfile
from pathlib import Path

import yaml

from skymap_api.addresses import Addresses
from skymap_api.pulsar_brokers import Brokers, RedirectError
from skymap_scanner.broker.access import path_of_url, split_url
from skymap_scanner.cli.manifest import read_manifest
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.event import download
from skymap_scanner.kubectl.fetch_program import DIGESTS, FILES, INDEX
from skymap_scanner.kubectl.unpack import unpack
from testing.fuzz.target import Target, require
from testing.manifests import cases

#: The folder in which inputs become files.
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
_PUBLIC = Addresses.parse("public")


def check_manifest(data: bytes) -> None:
    """Read a manifest for a scan on this machine."""
    path = Path(_FOLDER.name) / "scan.yaml"
    path.write_bytes(data)
    read_manifest(path)


def manifest_seeds() -> list[bytes]:
    """Write the manifests of the tests, small ones, as YAML."""
    specs = [{"event": {"simulate": {}}}, cases.URL, {"event": {"path": "event.json"}, "levels": [{"nside": 8}]}]
    return [yaml.safe_dump(cases.manifest(spec, "scan")).encode() for spec in specs] + [b"a: &a [1]\nb: [*a, *a]\n"]


def check_url(data: bytes) -> None:
    """Read a URL of an event, a broker and an admin interface, a redirect, and an address."""
    text = data.decode("utf-8", "replace")
    for read in (download._place, split_url, path_of_url):
        try:
            read(text)
        except InputError as error:
            require(str(error).isprintable() or "\n" not in str(error), "a message of two lines")
    try:
        brokers = Brokers.parse(text)
        list(brokers.urls())
    except ValueError:
        brokers = Brokers.parse("http://pulsar:8080")
    try:
        where = brokers.redirected(next(brokers.urls()) + "/admin/v2/x?a=b", text)
        require(where.startswith(brokers.scheme), "another scheme")
    except RedirectError:
        pass
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if _PUBLIC.allow(text):
        require(address.is_global and not address.is_multicast, "an address that is not public")


def url_seeds() -> list[bytes]:
    """Write URLs and addresses."""
    urls = (
        "https://host.example:8443/event.json?a=b#c",
        "http://[::1]:80/",
        "http://user:pw@host/",
        "pulsar+ssl://broker:6651",
        "sqlite:////tmp/a.sqlite",
        "http://a:8080,b:8080/admin",
        "/admin/v2/x?authoritative=true",
        "xn--nxasmq6b.example",
        "168.63.129.16",
        "64:ff9b::a60:1",
        "2002:7f00:1::",
    )
    return [url.encode() for url in urls]


def check_fetch(data: bytes) -> None:
    """Unpack a stream; nothing appears outside the folder."""
    with tempfile.TemporaryDirectory(dir=_FOLDER.name) as outer:
        folder = Path(outer) / "here"
        try:
            unpack(io.BytesIO(data), folder, 1 << 20, lambda _: None)
        finally:
            require({path.name for path in Path(outer).iterdir()} <= {"here"}, "a file outside the folder")


def fetch_seeds() -> list[bytes]:
    """Write streams as the pod does."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        digest = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
        index = {"exists": True, "files": {"é": 4}, "skipped": ["link"]}
        for name, content in (
            (INDEX, json.dumps(index).encode()),
            (f"{FILES}é", b"data"),
            (DIGESTS, json.dumps({"é": digest}).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return [out.getvalue()[:7168]]


TARGETS = (
    Target("manifest", check_manifest, manifest_seeds, (InputError,)),
    Target("url", check_url, url_seeds, (), longest=512),
    Target("fetch", check_fetch, fetch_seeds, (ClusterError, InputError), longest=16384),
)
