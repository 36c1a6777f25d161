"""Results in real pods that need more memory than a pod has: the role gets more, or the output is corrected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.scans import (
    NAME,
    QUICK,
    SETTINGS,
    Scan,
    Start,
    condition,
    embedded,
    ended,
    manifest,
    results,
    scan,
)
from testing.waiting import eventually

COMPLETED = ("True", "Completed", "the results are written")
SPEC: Scan = QUICK | {"event": {"simulate": {"topology": "cascade", "seed": 3}}}
PICTURES = {"output": {"formats": ["json", "png"]}}
#: Enough for the JSON file, and more than half of what the pictures need.
TIGHT = SETTINGS | {"ROLE_RESOURCES": json.dumps({"requests": {"cpu": "10m"}, "limits": {"memory": "300Mi"}})}


@pytest.mark.timeout(600)
def test_saver_gets_the_memory_that_its_results_need(
    operators: Start, namespace: Namespace, worker_image: str, python_image: str, tmp_path: Path
) -> None:
    operators(IMAGE=worker_image, **TIGHT, ROLE_MEMORY_MAX="600Mi")
    namespace.apply(manifest(SPEC | PICTURES))
    assert ended(namespace) == COMPLETED
    (raised,) = scan(namespace)["status"]["roleMemory"]
    assert raised == {"role": "saver", "limit": "600Mi", "message": "its memory limit of 300Mi was too low"}
    assert results(namespace, python_image) == embedded(SPEC | PICTURES, tmp_path)


@pytest.mark.timeout(600)
def test_output_that_cannot_be_written_is_corrected(
    operators: Start, namespace: Namespace, worker_image: str, python_image: str, tmp_path: Path
) -> None:
    operators(IMAGE=worker_image, **TIGHT, ROLE_MEMORY_MAX="0")
    namespace.apply(manifest(SPEC | PICTURES))
    status, reason, message = ended(namespace)
    assert (status, reason) == ("False", "OutputFailed")
    assert message.startswith(
        "saver failed: Error: the format png needs up to 531 MiB of memory, and the limit is 300 MiB"
    )
    assert "no fit is lost: change spec.output" in message
    change = json.dumps({"spec": {"output": {"formats": ["json"]}}})
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", change)
    eventually(lambda: condition(scan(namespace), "Succeeded"), lambda found: found == COMPLETED, 240.0)
    assert results(namespace, python_image) == embedded(SPEC, tmp_path)
