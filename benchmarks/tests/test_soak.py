"""What a soak counts as growth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.faults.soak import LEAST, WARM, Sample, faults, write

FLAT = Sample(
    seconds=60.0,
    scan_seconds=15.0,
    same=True,
    left=0,
    topics=0,
    volumes=0,
    operator_mib=80.0,
    operator_threads=8,
    operator_files=20,
    pulsar_mib=400.0,
    pulsar_threads=150,
    pulsar_files=360,
    pulsar_disk_mib=30.0,
    api_server_mib=350.0,
    kubelet_mib=120.0,
    containerd_mib=50.0,
    operator_cpu=1.0,
)


def test_constant_figures_are_not_reported_as_growth() -> None:
    assert faults([FLAT] * 50) == []


def test_first_scans_may_fill_caches() -> None:
    assert faults([replace(FLAT, operator_mib=60.0 + 4 * n) for n in range(WARM)] + [FLAT] * 20) == []


@pytest.mark.parametrize(
    ("what", "each", "words"),
    [
        ("operator_mib", 0.2, "operator_mib has grown from 81.7 to 88.1"),
        ("operator_threads", 0.2, "operator_threads has grown from 9.7 to 16.1"),
        ("operator_files", 1, "operator_files has grown from 28.5 to 60.5"),
        ("pulsar_threads", 1, "pulsar_threads has grown from 158.5 to 190.5"),
    ],
)
def test_small_growth_per_scan_is_reported(what: str, each: float, words: str) -> None:
    samples = [replace(FLAT, **{what: getattr(FLAT, what) + each * n}) for n in range(45)]
    assert faults(samples) == [words]


def test_different_files_and_remaining_objects_are_reported() -> None:
    samples = [FLAT, replace(FLAT, same=False)] + [FLAT] * WARM + [replace(FLAT, left=2, topics=1, volumes=1)]
    assert faults(samples) == [
        "scan 2: its files differ",
        "2 objects are left",
        "1 topics are left",
        "1 volumes are left",
    ]


@pytest.mark.parametrize("number", [0, 1, WARM, WARM + 1])
def test_growth_is_not_judged_from_too_few_scans(number: int) -> None:
    assert faults(doubling(number)) == [f"too few scans to judge growth: {number} of at least 7"]


def test_growth_is_judged_from_an_early_and_late_scan() -> None:
    assert faults(doubling(LEAST))[0] == "operator_mib has grown from 2560 to 5120"


def doubling(number: int) -> list[Sample]:
    return [replace(FLAT, operator_mib=FLAT.operator_mib * 2**n) for n in range(number)]


def test_figures_and_picture_are_written(tmp_path: Path) -> None:
    write([FLAT, FLAT], tmp_path / "new")
    lines = (tmp_path / "new" / "soak.csv").read_text().splitlines()
    assert lines[0].startswith("seconds,scan_seconds,same,left,topics,volumes,operator_mib")
    assert len(lines) == 3
    assert (tmp_path / "new" / "soak.png").read_bytes().startswith(b"\x89PNG")
