"""One cell of the matrix: create a scan, inject the fault, wait for the end, check the files, delete the scan."""

from __future__ import annotations

import io
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from skymap_api.names import API_VERSION
from skymap_scanner.errors import SkymapError
from skymap_scanner.i3 import read_frames
from testing.cluster import scans
from testing.faults import network
from testing.faults.cells import Cell, Draw, Outcome, draw
from testing.faults.inject import NoVictim, inject, present
from testing.faults.node import command_of
from testing.faults.scene import CLAIM, PLACE, Json, Scene, ready
from testing.map_files import is_map_file
from testing.waiting import eventually

#: How long a scan and its removal may take (s).
SCAN_SECONDS, REMOVAL_SECONDS = 420.0, 120.0

#: How often the moment is drawn again if the part does not run then, such as a producer that has finished.
ATTEMPTS = 4

SCANS = f"/apis/{API_VERSION}/namespaces/{PLACE}/skymapscans"

KINDS = (
    ("pods", "api/v1"),
    ("configmaps", "api/v1"),
    ("jobs", "apis/batch/v1"),
    ("deployments", "apis/apps/v1"),
    ("replicasets", "apis/apps/v1"),
)


def spec(events: str, seconds: float, reconstruction: str = "dummy") -> scans.Scan:
    """Return a scan of two levels and 132 fits of ``seconds`` each; a real likelihood ignores ``seconds``."""
    parameters = {"ra": 200.0, "dec": 20.0, "seconds": seconds} if reconstruction == "dummy" else {}
    return {
        "event": {"url": events},
        "levels": [{"nside": 1}, {"nside": 4, "parents": 2}],
        "seeds": 3,
        "firstSeeds": 3,
        "reconstruction": {"name": reconstruction, "parameters": parameters},
        "workers": {"min": 2, "max": 2},
        "output": {"formats": ["json", "npz"]},
    }


@dataclass
class Watch:
    """Polls a scan until it has finished; tolerates an unreachable API server."""

    scene: Scene
    name: str
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    last: Json = field(default_factory=dict)
    degraded: Counter[str] = field(default_factory=Counter)

    @property
    def age(self) -> float:
        """The time since the scan was created (s)."""
        return time.monotonic() - self.began

    @property
    def seconds(self) -> float:
        """The duration of the scan, so far or in total (s)."""
        return self.age if self.ended is None else self.ended - self.began

    @property
    def phase(self) -> str:
        """The phase and progress of the scan."""
        status = self.last.get("status", {})
        return f"{status.get('phase', 'new')} {status.get('progress', '')}".strip()

    @property
    def outcome(self) -> tuple[str, str, str]:
        """Status, reason and message of the condition Succeeded."""
        return scans.condition(self.last, "Succeeded")

    def until(self, age: float | None = None) -> bool:
        """Poll until the scan has finished or has this age; return whether it has finished."""
        while self.ended is None and self.age < (SCAN_SECONDS if age is None else age):
            with suppress(httpx.HTTPError):
                self.last = self.scene.api.get(f"{SCANS}/{self.name}") or {}
                state, reason, message = scans.condition(self.last, "Degraded")
                if state == "True":
                    self.degraded[f"{reason}: {message}"] += 1
                if self.outcome[0] in {"True", "False"}:
                    self.ended = time.monotonic()
                    break
            time.sleep(0.2)
        return self.ended is not None


def perform(
    scene: Scene, cell: Cell, seed: int, wanted: scans.Scan, expected: dict[str, bytes], median: float
) -> Outcome:
    """Play a cell, with an earlier moment if the part has finished by then."""
    for attempt in range(ATTEMPTS):
        drawn = draw(cell, seed, attempt)
        with suppress(NoVictim):
            return _perform(scene, cell, drawn, seed, wanted, expected, median)
        print(f"  {cell.name}: not running at {drawn.moment * median:.1f} s; again, earlier", flush=True)
        remove(scene, "alert")
    return not_played(cell, seed, "it ran at none of the drawn moments")


def not_played(cell: Cell, seed: int, why: str) -> Outcome:
    """Return the outcome of a cell that could not be played."""
    return Outcome(cell.name, seed, (why,), 0, 0, 0, 0, "", "", round(os.getloadavg()[0], 1))


def _perform(
    scene: Scene, cell: Cell, drawn: Draw, seed: int, wanted: scans.Scan, expected: dict[str, bytes], median: float
) -> Outcome:
    chance, faults, hit, moment, lasted, phase = random.Random(f"{seed}/{cell.name}"), [], "", 0.0, 0.0, ""
    fault = inject(scene, cell, chance)
    if drawn.moment == 0.0:  # before the scan exists
        watch = Watch(scene, "alert")
        with fault as hit:
            watch = create(scene, wanted)
            watch.until(drawn.seconds)
        lasted = drawn.seconds or 0.0
    else:
        watch = create(scene, wanted)
        over = watch.until(drawn.moment * median)
        while not (over or present(scene, cell)):  # it may still be starting
            over = watch.until(watch.age + 0.3)
        if over:
            raise NoVictim(cell.part)
        phase, moment = watch.phase, watch.age
        try:
            with fault as hit:
                watch.until(None if drawn.seconds is None else watch.age + drawn.seconds)
                lasted = watch.age - moment
        except (RuntimeError, AssertionError, OSError, TimeoutError) as error:
            faults.append(f"the fault could not be injected or undone: {error}")
    watch.until()
    faults += check(scene, watch, expected)
    faults += remove(scene, "alert", expected)
    load = os.getloadavg()[0]
    return Outcome(
        cell.name, seed, tuple(faults), round(watch.seconds, 1), round(watch.seconds - median, 1), round(moment, 1),
        round(lasted, 1), phase, hit, round(load, 1), tuple(watch.degraded),
    )  # fmt: skip


def create(scene: Scene, wanted: scans.Scan, name: str = "alert") -> Watch:
    """Create the scan; return a watch on it."""
    body = scans.manifest(wanted | {"output": wanted["output"] | {"claim": {"name": CLAIM}}}, name)
    scene.api.http.post(SCANS, json=body).raise_for_status()
    return Watch(scene, name)


def restore(scene: Scene) -> None:
    """Bring the scene back to its state before a cell.

    Raises
    ------
    AssertionError
        If that takes too long: the next cell needs a new scene.
    """
    network.remove_cut(scene.node)
    eventually(lambda: scene.server.request("GET", "/admin/v2/brokers/health").text == "ok", within=60)
    eventually(lambda: ready(scene.api), within=120)
    scene.cluster.kubectl("uncordon", scene.node.name)
    eventually(lambda: len(scene.running("operator")) == 1 and not remove(scene, "alert"), within=180)


def check(scene: Scene, watch: Watch, expected: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a scan that should have succeeded."""
    if watch.ended is None:
        return [f"not finished after {SCAN_SECONDS:g} s: {watch.phase}; {scans.condition(watch.last, 'Degraded')[2]}"]
    if watch.outcome[0] != "True":
        return [f"failed: {watch.outcome[1]}: {watch.outcome[2]}"]
    return differences(files(scene, watch.name), expected)


def files(scene: Scene, name: str) -> dict[str, bytes]:
    """Return the scan's files on the claim but for those with times in them."""
    return {path.name: path.read_bytes() for path in (scene.claim / name).iterdir() if is_map_file(path.name)}


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Compare files bit for bit and read the .i3 file to its end; pure."""
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    wrong += [f"{name} is unexpected" for name in sorted(found.keys() - expected.keys())]
    wrong += [f"{name} differs" for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]]
    for name, content in found.items():
        if ".i3" in name:
            try:
                count = sum(frame.stop == "P" for frame in read_frames(io.BytesIO(content)))
            except SkymapError as error:
                wrong.append(f"{name} cannot be read: {error}")
            else:
                wrong += [] if count else [f"{name} holds no pixel"]
    return wrong


def remove(scene: Scene, name: str, expected: dict[str, bytes] | None = None) -> list[str]:
    """Delete the scan and its files; return what is left of it after a time limit."""
    deadline, left = time.monotonic() + REMOVAL_SECONDS, ["unknown"]
    while left and time.monotonic() < deadline:
        try:
            scene.api.http.delete(f"{SCANS}/{name}")
            left = remains(scene, name)
        except httpx.HTTPError as error:
            left = [f"cannot be read: {error!r}"]
        time.sleep(0.3 if left else 0)
    strange = [path.name for path in scene.claim.iterdir() if path.name != name]
    left += [f"on the claim: {found}" for found in strange] if expected is not None else []
    clear(scene.claim)
    return [f"left behind: {one}" for one in left]


def remains(scene: Scene, name: str) -> list[str]:
    """Return the objects, topics and processes that remain of a deleted scan."""
    left = [] if scene.api.get(f"{SCANS}/{name}") is None else [f"SkymapScan {name}"]
    left += [f"{kind} {one['metadata']['name']}" for kind, group in KINDS for one in scene.api.items(kind, group)]
    left += [f"topic {topic}" for topic in scene.topics()]
    left += [f"process {pid}" for pid in scene.node.pods() if is_role(command_of(pid))]
    return left


def is_role(command: list[str]) -> bool:
    """Return whether this is the command line of a role; pure."""
    return any(Path(word).name == "skymap-scanner" for word in command[:2])


def clear(folder: Path) -> None:
    """Remove all files on the claim."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
