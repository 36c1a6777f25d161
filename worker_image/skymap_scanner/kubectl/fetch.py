"""Copy the results of a scan from their claim: make the pod, stream the files out of it, take the pod away."""

from __future__ import annotations

import inspect
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl import fetch_job, fetch_program
from skymap_scanner.kubectl.client import Kubectl, explained
from skymap_scanner.kubectl.fetch_job import Source
from skymap_scanner.kubectl.scans import SeenScan
from skymap_scanner.kubectl.unpack import Arrival, Unpacked, unpack

_LOOK_EVERY = 0.3
#: How long kubectl may take to end once it has given all (s).
_LEAVE = 10.0


def source_of(kubectl: Kubectl, scan: SeenScan, image: str | None = None) -> Source:
    """Return where the results of a scan are, with the image that its own pods have, so that none is pulled.

    Raises
    ------
    InputError
        If the scan has not begun, so that no image is known.
    """
    chosen = image or (None if scan.status.runs_with is None else scan.status.runs_with.image)
    if chosen is None:
        raise InputError(f"SkymapScan {scan.name} has not begun, so there are no results yet")
    saver = kubectl.get("job", f"{scan.base}-saver")
    return Source.like(scan.claim, scan.folder, chosen, saver)


def fetch(
    kubectl: Kubectl, source: Source, folder: Path, *, limit: int, patience: float, show: Callable[[Arrival], None]
) -> Unpacked:
    """Copy the files of a claim's folder into ``folder``.

    ``limit``: most bytes; ``patience``: how long the pod may take to start (s).

    Raises
    ------
    ClusterError
        If the cluster cannot be used, the pod does not start, or the copy broke off.
    InputError
        If there is no such claim, more than ``limit``, or no room in ``folder``.
    """
    if kubectl.get("persistentvolumeclaim", source.claim) is None:
        raise InputError(
            f"there is no claim {source.claim}: the operator makes it when the scan begins, and nobody but its owner "
            "deletes it (--claim names another)"
        )
    with _pod(kubectl, source, patience) as pod:
        return _copy(kubectl, pod, source, folder, limit, show)


@contextmanager
def _pod(kubectl: Kubectl, source: Source, patience: float) -> Iterator[str]:
    """Give the name of a pod that has the claim; it is taken away in the end, whatever happens."""
    name = f"skymap-fetch-{uuid4().hex[:12]}"
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(fetch_job.job(name, source)))
        yield _started(kubectl, name, patience)
    finally:
        # Where this fails the Job still ends by itself; the error that led here says more.
        with suppress(ClusterError):
            kubectl.run("delete", "job", name, "--ignore-not-found", "--wait=false", detached=True)


def _started(kubectl: Kubectl, job: str, patience: float) -> str:
    """Wait until the Job's pod runs; return its name."""
    deadline = time.monotonic() + patience
    while True:
        pods = kubectl.items("pods", "--selector", f"job-name={job}")
        for pod in pods:
            if fetch_job.is_ready(pod):
                return str(pod["metadata"]["name"])
            if (why := fetch_job.why_never(pod)) is not None:
                raise ClusterError(f"the pod that copies the results does not start: {why}")
        if time.monotonic() > deadline:
            why = fetch_job.why_not_yet(pods, _events(kubectl, job, pods))
            raise ClusterError(f"the pod that copies the results has not started within {patience:g} s: {why}")
        time.sleep(_LOOK_EVERY)


def _events(kubectl: Kubectl, job: str, pods: list[fetch_job.Manifest]) -> list[fetch_job.Manifest]:
    """Return what was told of the Job and its pods; nothing where that may not be read."""
    about = {job, *(pod["metadata"]["name"] for pod in pods)}
    try:
        events = kubectl.items("events")
    except ClusterError:
        return []
    return [event for event in events if event["involvedObject"].get("name") in about]


def _copy(
    kubectl: Kubectl, pod: str, source: Source, folder: Path, limit: int, show: Callable[[Arrival], None]
) -> Unpacked:
    send = ["python3", "-c", inspect.getsource(fetch_program), "send", source.path]
    words = ["exec", "--stdin", pod, "--container", fetch_job.CONTAINER, "--", *send]
    with tempfile.TemporaryFile() as said:
        process = kubectl.start(*words, stdin=subprocess.PIPE, stderr=said)
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe
            return unpack(process.stdout, folder, limit, show)
        except ClusterError as error:
            _end(process)
            said.seek(0)
            why = said.read().decode(errors="replace").strip()
            if not why:
                raise
            raise explained(f"{error}: {why}") from error
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let kubectl go: its standard input closes, and with it the program in the pod ends."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(timeout=_LEAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
