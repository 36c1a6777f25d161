"""What this process may use of the machine: cores, memory, and so how many workers run side by side.

The cores are those of the CPU affinity (taskset, Slurm, cpusets), but no more than the CPU quota of the control group
and of all groups around it, rounded up. The memory is what the machine has available, but no more than the same groups
leave. Groups of version 1 and 2 are read, as cgroups(7) and proc(5) of Linux describe them; other systems have none.
"""

from __future__ import annotations

import logging
import math
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

#: Memory (bytes) of one worker. Measured at its peak: 280 MB, and 540 MB while it simulates, 100 MB of it shared.
WORKER_MEMORY = 512 << 20
#: Memory (bytes) of the other processes of a scan together. Measured: `run` and the collector 110 MB each, the producer
#: up to 240 MB, a saver that draws 380 MB.
OTHER_MEMORY = 800 << 20


def worker_count() -> int:
    """Return how many workers to start: one per core, as far as the memory allows, and at least one."""
    cores, memory = allowed_cores(), allowed_memory()
    workers = workers_for(cores, memory)
    if memory is not None and workers < cores:
        log.info("%d MiB of memory are enough for %d of %d workers (--workers overrides)", memory >> 20, workers, cores)
    return workers


def warn_of_memory(workers: int) -> None:
    """Log a warning if the memory is not enough for so many workers."""
    memory = allowed_memory()
    if memory is not None and (enough := workers_for(workers, memory)) < workers:
        log.warning("%d MiB of memory are enough for %d of %d workers", memory >> 20, enough, workers)


def workers_for(cores: int, memory: int | None) -> int:
    """Return the number of workers for so many cores and so much memory (bytes; None: unknown)."""
    if memory is None:
        return cores
    return max(1, min(cores, (memory - OTHER_MEMORY) // WORKER_MEMORY))


def allowed_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use; ``root`` is where ``/proc`` and the groups are."""
    quotas = [quota for folder in _group_folders(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([_affinity(), *map(math.ceil, quotas)]))


def allowed_memory(root: Path = Path("/")) -> int | None:
    """Return the memory (bytes) that this process and its children may still use, None where that is not known."""
    found = [_memory_in(root, "MemAvailable"), *(_group_memory(folder) for folder in _group_folders(root, "memory"))]
    return min((max(one, 0) for one in found if one is not None), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the most memory (bytes) that this process may ever have, whatever others use now; None if not known."""
    groups = (_group_limit(folder) for folder in _group_folders(root, "memory"))
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    found = [_memory_in(root, "MemTotal"), None if space == resource.RLIM_INFINITY else space, *groups]
    return min((one for one in found if one is not None), default=None)


def _affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(folder: Path) -> float | None:
    """Return the CPU quota of a group in cores, None without one."""
    limit = _read(folder / "cpu.max").split()  # version 2: "200000 100000", "max 100000"
    if not limit:
        limit = [*_read(folder / "cpu.cfs_quota_us").split(), *_read(folder / "cpu.cfs_period_us").split()]
    if len(limit) != 2 or not all(map(str.isdecimal, limit)):  # "max", and -1 in version 1
        return None
    return int(limit[0]) / max(int(limit[1]), 1)


def _memory_in(root: Path, key: str) -> int | None:
    found = re.search(rf"^{key}: +(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return None if found is None else int(found[1]) << 10


def _group_memory(folder: Path) -> int | None:
    """Return the memory (bytes) that a group leaves; the files that it has cached would make room."""
    limit = _group_limit(folder)
    for used_file, total in (("memory.current", ""), ("memory.usage_in_bytes", "total_")):  # version 2, version 1
        used = _read(folder / used_file).strip()
        if limit is not None and used.isdecimal():
            cached = re.findall(rf"^{total}(?:in)?active_file (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
            return limit - int(used) + sum(map(int, cached))
    return None


def _group_limit(folder: Path) -> int | None:
    """Return the memory limit (bytes) of a group; without one version 2 has a word, version 1 a huge number.

    Version 2 has two: above ``memory.high`` the kernel slows the group down until it hardly runs.
    """
    limits = (_read(folder / name).strip() for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    return min((int(limit) for limit in limits if limit.isdecimal()), default=None)


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of the groups around it, as far as they are mounted."""
    paths = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))  # "" is version 2
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        mounted, place = (_unescaped(field) for field in before.split()[3:5])
        kind, _, options = after.split(" ", 2)
        key = {"cgroup2": "", "cgroup": controller}.get(kind)
        if key is None or key not in paths or (kind == "cgroup" and controller not in options.split(",")):
            continue
        folder = top = root / place.lstrip("/")
        inside = Path(paths[key])
        # A container without a namespace for groups sees its own group mounted, and its path as the host has it.
        if inside.is_relative_to(mounted) and ".." not in inside.parts:
            folder = top / inside.relative_to(mounted)
        yield from (one for one in (folder, *folder.parents) if one.is_relative_to(top))


def _unescaped(field: str) -> str:
    """Return a field of mountinfo without its octal escapes, as of blanks."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _read(path: Path) -> str:
    """Return the text of a file, "" if it cannot be read: a limit that is not shown is none."""
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""
