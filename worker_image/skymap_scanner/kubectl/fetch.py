"""Copying the results of a scan from their claim: create a pod, stream the files out of it, delete the pod."""

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
from skymap_scanner.kubectl.client import Kubectl, explain_failure
from skymap_scanner.kubectl.fetch_job import ResultSource
from skymap_scanner.kubectl.scans import ClusterScan
from skymap_scanner.kubectl.unpack import Transferred, Unpacked, unpack

_POLL_INTERVAL = 0.3
#: How long kubectl may take to exit after the last byte (s).
_EXIT_TIMEOUT = 10.0


def results_of(kubectl: Kubectl, scan: ClusterScan, image: str | None = None) -> ResultSource:
    """Return the source of a scan's results, by default with the image of its own pods, which needs no pull.

    Raises
    ------
    InputError
        If the scan has not started, so that no image is known.
    """
    chosen = image or scan.image
    if chosen is None:
        raise InputError(f"SkymapScan {scan.name} has not started, so there are no results yet: try again later")
    saver = kubectl.get("job", f"{scan.base}-saver")
    return ResultSource.from_saver(scan.claim, scan.folder, chosen, saver)


def fetch(
    kubectl: Kubectl,
    source: ResultSource,
    folder: Path,
    *,
    limit: int,
    timeout: float,
    show: Callable[[Transferred], None],
) -> Unpacked:
    """Copy the files of a claim's folder into ``folder``.

    ``limit``: most bytes; ``timeout``: how long the pod may take to start (s).

    Raises
    ------
    ClusterError
        If the cluster cannot be used, the pod does not start, or the copy is cut short.
    InputError
        If the claim does not exist, there are more than ``limit`` bytes, or ``folder`` has no room.
    """
    claim = kubectl.get("persistentvolumeclaim", source.claim)
    if claim is None:
        raise InputError(
            f"there is no claim {source.claim}: the operator creates it when the scan starts, and only its owner "
            "deletes it (choose another with --claim)"
        )
    if "securityContext" not in source.pod:
        source = source.in_namespace(_namespace(kubectl, claim["metadata"]["namespace"]))
    with _running_pod(kubectl, source, timeout) as pod:
        return _copy(kubectl, pod, source, folder, limit, show)


def _namespace(kubectl: Kubectl, name: str) -> fetch_job.Manifest | None:
    """Return a namespace; None if the user may not read it."""
    try:
        return kubectl.get("namespace", name)
    except ClusterError:
        return None


@contextmanager
def _running_pod(kubectl: Kubectl, source: ResultSource, timeout: float) -> Iterator[str]:
    """Yield the name of a running pod that mounts the claim; its Job is deleted in the end, whatever happens."""
    name = f"skymap-fetch-{uuid4().hex[:12]}"
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(fetch_job.build_job(name, source)))
        yield _wait_for_pod(kubectl, name, timeout)
    finally:
        # If this fails, the Job still ends by itself; the error that led here is the one to show.
        with suppress(ClusterError):
            kubectl.run("delete", "job", name, "--ignore-not-found", "--wait=false", detached=True)


def _wait_for_pod(kubectl: Kubectl, job: str, timeout: float) -> str:
    """Wait until the Job's pod runs; return its name."""
    deadline = time.monotonic() + timeout
    while True:
        pods = kubectl.items("pods", "--selector", f"job-name={job}")
        for pod in pods:
            if fetch_job.is_ready(pod):
                return str(pod["metadata"]["name"])
            if (reason := fetch_job.permanent_failure(pod)) is not None:
                raise ClusterError(f"the pod that copies the results does not start: {reason}")
        if time.monotonic() > deadline:
            reason = fetch_job.pending_reason(pods, _events(kubectl, job, pods))
            raise ClusterError(f"the pod that copies the results has not started within {timeout:g} s: {reason}")
        time.sleep(_POLL_INTERVAL)


def _events(kubectl: Kubectl, job: str, pods: list[fetch_job.Manifest]) -> list[fetch_job.Manifest]:
    """Return the Kubernetes Events about the Job and its pods; none if the user may not read them."""
    about = {job, *(pod["metadata"]["name"] for pod in pods)}
    try:
        events = kubectl.items("events")
    except ClusterError:
        return []
    return [event for event in events if event["involvedObject"].get("name") in about]


def _copy(
    kubectl: Kubectl, pod: str, source: ResultSource, folder: Path, limit: int, show: Callable[[Transferred], None]
) -> Unpacked:
    send = ["python3", "-I", "-c", inspect.getsource(fetch_program), "send", source.path]
    words = ["exec", "--stdin", pod, "--container", fetch_job.CONTAINER, "--", *send]
    with tempfile.TemporaryFile() as stderr:
        process = kubectl.start(*words, stdin=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe
            return unpack(process.stdout, folder, limit, show)
        except ClusterError as error:
            _end(process)
            stderr.seek(0)
            reason = stderr.read().decode(errors="replace").strip()
            if not reason:
                raise
            raise explain_failure(f"{error}: {reason}") from error
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End kubectl: closing its standard input ends the program in the pod, and with it kubectl."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(timeout=_EXIT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
