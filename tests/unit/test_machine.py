"""The cores and the memory that this process may use."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from skymap_scanner import machine
from skymap_scanner.machine import OTHER_MEMORY, WORKER_MEMORY, allowed_cores, allowed_memory, memory_limit, workers_for

GB, MB = 1 << 30, 1 << 20
MEMINFO = f"MemTotal:  {16 * GB >> 10} kB\nMemFree:   {2 * GB >> 10} kB\nMemAvailable:   {8 * GB >> 10} kB\n"

#: How groups are shown: the file cgroup, the file mountinfo, and where the folders are of the own group and of those
#: around it (first the own one).
HOST_V2 = (
    "0::/user.slice/user-1000.slice/job\n",
    "25 30 0:22 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    [f"sys/fs/cgroup/{group}" for group in ("user.slice/user-1000.slice/job", "user.slice/user-1000.slice", "")],
)
CONTAINER_V2 = ("0::/\n", "31 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup ro\n", ["sys/fs/cgroup"])
#: The path leads out of the group that the container sees as the root.
OUTSIDE_V2 = ("0::/../other\n", "31 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup ro\n", ["sys/fs/cgroup"])
HOST_V1 = (
    "5:cpu,cpuacct:/slurm/job_7\n4:memory:/slurm/job_7\n1:name=systemd:/x\n",
    (
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "32 31 0:29 / /sys/fs/cgroup/all rw - cgroup cgroup rw,cpu,cpuacct,memory\n"
    ),
    [f"sys/fs/cgroup/all/{group}" for group in ("slurm/job_7", "slurm", "")],
)
#: Docker before namespaces of groups: the path is the host's, and that group alone is mounted.
CONTAINER_V1 = (
    "5:cpu,cpuacct:/docker/a b\n4:memory:/docker/a b\n0::/\n",
    (
        "32 31 0:29 /docker/a\\040b /sys/fs/c\\040group ro - cgroup cgroup rw,cpu,cpuacct,memory\n"
        "33 31 0:30 / /sys/fs/unified rw - cgroup2 cgroup2 rw\n"
    ),
    ["sys/fs/c group"],
)
V2, V1 = [HOST_V2, CONTAINER_V2, OUTSIDE_V2], [HOST_V1, CONTAINER_V1]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write files of ``/proc`` and of groups below a folder, on a machine of 16 cores."""
    monkeypatch.setattr(machine, "_affinity", lambda: 16)

    def make(shown: tuple[str, str, list[str]], *groups: Mapping[str, str]) -> Path:
        """Write the files of the own group, and of the groups around it."""
        cgroup, mountinfo, folders = shown
        files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, "proc/meminfo": MEMINFO}
        for folder, group in zip(folders, groups, strict=False):
            files |= {f"{folder}/{name}": text for name, text in group.items()}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def cpu_v1(quota: int, period: int = 100_000) -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize("shown", V2)
@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("max 100000", 16), ("9900000 100000", 16)],
)
def test_quota_of_version_2_bounds_the_cores(tree, shown, limit, cores):
    assert allowed_cores(tree(shown, {"cpu.max": f"{limit}\n"})) == cores


@pytest.mark.parametrize("shown", V1)
@pytest.mark.parametrize(("quota", "cores"), [(200_000, 2), (150_000, 2), (5000, 1), (-1, 16), (9_900_000, 16)])
def test_quota_of_version_1_bounds_the_cores(tree, shown, quota, cores):
    assert allowed_cores(tree(shown, cpu_v1(quota))) == cores


@pytest.mark.parametrize("outer", [1, 2])
def test_smallest_quota_of_nested_groups_counts(tree, outer):
    two, eight, none = {"cpu.max": "200000 100000"}, {"cpu.max": "800000 100000"}, {"cpu.max": "max 100000"}
    assert allowed_cores(tree(HOST_V2, *([eight, two, none] if outer == 1 else [none, eight, two]))) == 2


@pytest.mark.parametrize("outer", [1, 2])
def test_smallest_quota_of_nested_groups_of_version_1_counts(tree, outer):
    two, eight, none = cpu_v1(200_000), cpu_v1(400_000, 50_000), cpu_v1(-1)
    assert allowed_cores(tree(HOST_V1, *([eight, two, none] if outer == 1 else [none, eight, two]))) == 2


def test_machine_without_groups_has_its_cores_and_memory(tree, tmp_path):
    root = tree(("", "", []))
    assert (allowed_cores(root), allowed_memory(root)) == (16, 8 * GB)
    assert allowed_memory(tmp_path / "no-proc") is None


@pytest.mark.parametrize("shown", V2)
@pytest.mark.parametrize(
    ("limit", "memory"), [(str(3 * GB), 2 * GB + 300 * MB), ("max", 8 * GB), (str(64 * GB), 8 * GB), (str(MB), 0)]
)
def test_memory_of_version_2_is_what_the_group_leaves(tree, shown, limit, memory):
    stat = f"anon 1\ninactive_file {200 * MB}\nactive_file {100 * MB}\nunevictable 5\n"
    group = {"memory.max": f"{limit}\n", "memory.current": f"{GB}\n", "memory.stat": stat}
    assert allowed_memory(tree(shown, group)) == memory


@pytest.mark.parametrize("shown", V1)
@pytest.mark.parametrize(("limit", "memory"), [(3 * GB, 2 * GB + 300 * MB), (0x7FFFFFFFFFFFF000, 8 * GB), (MB, 0)])
def test_memory_of_version_1_is_what_the_group_leaves(tree, shown, limit, memory):
    own = f"inactive_file {MB}\nactive_file {MB}\n"  # without the groups inside
    stat = f"{own}total_inactive_file {200 * MB}\ntotal_active_file {100 * MB}\n"
    group = {"memory.limit_in_bytes": f"{limit}\n", "memory.usage_in_bytes": f"{GB}\n", "memory.stat": stat}
    assert allowed_memory(tree(shown, group)) == memory


def test_smallest_memory_of_nested_groups_counts(tree):
    groups = [{"memory.max": f"{size * GB}", "memory.current": f"{GB}"} for size in (6, 3, 5)]
    assert allowed_memory(tree(HOST_V2, *groups)) == 2 * GB


@pytest.mark.parametrize(
    ("cores", "memory", "workers"),
    [
        (4, None, 4),
        (4, 64 * GB, 4),
        (128, OTHER_MEMORY + 5 * WORKER_MEMORY, 5),
        (128, OTHER_MEMORY + 5 * WORKER_MEMORY - 1, 4),
        (128, 0, 1),
    ],
)
def test_memory_bounds_the_workers_and_one_is_left(cores, memory, workers):
    assert workers_for(cores, memory) == workers


@pytest.mark.parametrize(("workers", "warned"), [(4, False), (5, True)])
def test_more_workers_than_memory_are_a_warning(monkeypatch, caplog, workers, warned):
    monkeypatch.setattr(machine, "allowed_memory", lambda: OTHER_MEMORY + 4 * WORKER_MEMORY)
    machine.warn_of_memory(workers)
    assert ("2848 MiB of memory are enough for 4 of 5 workers" in caplog.text) == warned


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="macOS has no affinity")
def test_affinity_bounds_the_cores_of_this_machine():
    check = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from skymap_scanner.machine import allowed_cores, worker_count; print(allowed_cores(), worker_count())"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1\n"


@pytest.mark.parametrize("shown", V2)
@pytest.mark.parametrize(("limit", "expected"), [(str(2 * GB), 2 * GB), ("max", 16 * GB), (str(99 * GB), 16 * GB)])
def test_memory_limit_of_version_2_does_not_depend_on_use(tree, shown, limit, expected):
    assert memory_limit(tree(shown, {"memory.max": f"{limit}\n", "memory.current": f"{GB}\n"})) == expected


@pytest.mark.parametrize(
    ("most", "high", "limit"), [("max", 3 * GB, 3 * GB), (4 * GB, 3 * GB, 3 * GB), (3 * GB, "max", 3 * GB)]
)
def test_memory_above_which_a_group_is_slowed_down_is_a_limit(tree, most, high, limit):
    root = tree(CONTAINER_V2, {"memory.max": f"{most}\n", "memory.high": f"{high}\n", "memory.current": f"{GB}\n"})
    assert (memory_limit(root), allowed_memory(root)) == (limit, limit - GB)


@pytest.mark.parametrize("shown", V1)
def test_memory_limit_of_version_1_is_that_of_the_group(tree, shown):
    assert memory_limit(tree(shown, {"memory.limit_in_bytes": f"{3 * GB}\n"})) == 3 * GB
    assert memory_limit(tree(shown, {"memory.limit_in_bytes": "9223372036854771712\n"})) == 16 * GB


def test_memory_limit_of_groups_around_counts(tree):
    assert memory_limit(tree(HOST_V2, {"memory.max": "max\n"}, {"memory.max": f"{4 * GB}\n"})) == 4 * GB


def test_memory_limit_counts_the_address_space(tree, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5 * GB, resource.RLIM_INFINITY))
    assert memory_limit(tree(CONTAINER_V2, {"memory.max": f"{6 * GB}\n"})) == 5 * GB


def test_memory_limit_may_be_unknown(tmp_path):
    assert memory_limit(tmp_path) is None
