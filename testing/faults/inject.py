"""The faults: context managers that inject a fault, yield a description of the target, and undo it on exit."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

from testing.faults import disk, memory
from testing.faults.cells import ROLES, Cell
from testing.faults.network import Service, cut
from testing.faults.node import began, command_of, end, send
from testing.faults.scene import PLACE, Scene

Injected = AbstractContextManager[str]

#: The programs of the node that fail alone, and those that stop with a machine. The kubelet comes first, since it would
#: restart the others.
DAEMONS = {"api-server": "kube-apiserver", "kubelet": "kubelet"}
MACHINE = ("kubelet", "kube-proxy", "containerd")


class NoVictim(Exception):  # noqa: N818 - no error: the moment is drawn again
    """The part does not run at this moment."""


def inject(scene: Scene, cell: Cell, chance: random.Random) -> Injected:
    """Return the fault of a cell as a context manager; ``chance`` chooses among several pods.

    Raises
    ------
    NoVictim
        On entry, if the part does not run.
    """
    kind = cell.fault.partition("-")[0]
    if kind in {"pulsar", "api", "events"}:
        return _cut(scene, cell.part, kind)
    if kind == "disk":
        return _full(scene, cell.part)
    if cell.part in {*ROLES, "operator"}:
        pod = {"kill": _kill_pod, "delete": _delete_pod, "hang": _hang_pod, "memory": _exhaust_pod}
        return pod[kind](scene, cell.part, chance)
    if cell.part == "broker":
        broker = {"kill": _kill_broker, "delete": _stop_broker, "hang": _hang_broker, "memory": _exhaust_broker}
        return broker[kind](scene)
    if cell.part == "node":
        return {"kill": _kill_node, "delete": _drain, "hang": _hang_node, "memory": _exhaust_node}[kind](scene)
    daemon = {"kill": _kill_daemon, "delete": _stop_daemon, "hang": _hang_daemon, "memory": _exhaust_daemon}
    return daemon[kind](scene, DAEMONS[cell.part])


def present(scene: Scene, cell: Cell) -> bool:
    """Return whether the part of a cell runs."""
    return cell.part not in {*ROLES, "operator"} or bool(scene.running(cell.part))


def _choose(scene: Scene, part: str, chance: random.Random) -> tuple[str, int]:
    """Choose a running pod of a role; return its name and its process id."""
    running = scene.running(part)
    if not running:
        raise NoVictim(part)
    pod, pid = chance.choice(running)
    return pod["metadata"]["name"], pid


# Pods: Kubernetes restarts them.


@contextmanager
def _kill_pod(scene: Scene, part: str, chance: random.Random) -> Iterator[str]:
    name, pid = _choose(scene, part, chance)
    send(pid, signal.SIGKILL)
    yield f"process {pid} of {name}"


@contextmanager
def _delete_pod(scene: Scene, part: str, chance: random.Random) -> Iterator[str]:
    name, _ = _choose(scene, part, chance)
    scene.api.http.request("DELETE", f"/api/v1/namespaces/{PLACE}/pods/{name}").raise_for_status()
    yield f"pod {name}"


@contextmanager
def _hang_pod(scene: Scene, part: str, chance: random.Random) -> Iterator[str]:
    name, pid = _choose(scene, part, chance)
    with _stopped([pid]):
        yield f"process {pid} of {name}"


@contextmanager
def _exhaust_pod(scene: Scene, part: str, chance: random.Random) -> Iterator[str]:
    name, pid = _choose(scene, part, chance)
    memory.end_by_memory(memory.group_of(pid), pid)
    yield f"process {pid} of {name}"


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    births = {pid: began(pid) for pid in pids}
    try:
        for pid in pids:
            send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid, birth in births.items():
            if birth is not None:
                send(pid, signal.SIGCONT, birth)


# The broker: a process of this machine, restarted here.


@contextmanager
def _kill_broker(scene: Scene) -> Iterator[str]:
    with _ended_broker(scene, scene.server.kill) as hit:
        yield hit


@contextmanager
def _stop_broker(scene: Scene) -> Iterator[str]:
    with _ended_broker(scene, scene.server.stop) as hit:
        yield hit


@contextmanager
def _ended_broker(scene: Scene, end: Callable[[], None]) -> Iterator[str]:
    pid = scene.server.pid
    end()
    try:
        yield f"process {pid}"
    finally:
        scene.server.start()


@contextmanager
def _hang_broker(scene: Scene) -> Iterator[str]:
    with _stopped([scene.server.pid]):
        yield f"process {scene.server.pid}"


@contextmanager
def _exhaust_broker(scene: Scene) -> Iterator[str]:
    pid = scene.server.pid
    try:
        with memory.own_group(scene.node, pid) as group:
            memory.end_by_memory(group, pid)
        scene.server.kill()  # it has ended already; this clears the state of `PulsarServer`
        yield f"process {pid}"
    finally:
        scene.server.start()


# Daemons of the node: restarted here, as systemd would.


def _daemon(scene: Scene, program: str) -> int:
    pid = scene.node.daemon(program)
    if pid is None:
        raise RuntimeError(f"{program} does not run")
    return pid


def _kill_daemon(scene: Scene, program: str) -> Injected:
    return _end_daemon(scene, program, signal.SIGKILL)


def _stop_daemon(scene: Scene, program: str) -> Injected:
    return _end_daemon(scene, program, signal.SIGTERM)


@contextmanager
def _end_daemon(scene: Scene, program: str, how: signal.Signals) -> Iterator[str]:
    pid = _daemon(scene, program)
    words = command_of(pid)
    try:
        end(pid, how)
        yield f"process {pid}"
    finally:
        scene.node.start(words)


@contextmanager
def _hang_daemon(scene: Scene, program: str) -> Iterator[str]:
    pid = _daemon(scene, program)
    with _stopped([pid]):
        yield f"process {pid}"


@contextmanager
def _exhaust_daemon(scene: Scene, program: str) -> Iterator[str]:
    pid = _daemon(scene, program)
    words = command_of(pid)
    try:
        with memory.own_group(scene.node, pid) as group:
            memory.end_by_memory(group, pid)
        yield f"process {pid}"
    finally:
        if scene.node.daemon(program) is None:
            scene.node.start(words)


# The node: a machine with pods, whose control plane is elsewhere and stays.


@contextmanager
def _kill_node(scene: Scene) -> Iterator[str]:
    pids = [_daemon(scene, program) for program in MACHINE]
    words = [command_of(pid) for pid in pids]
    try:
        for pid in pids:
            send(pid, signal.SIGKILL)
        pods = list(scene.node.pods())
        for pid in [*scene.node.shims(), *pods]:
            send(pid, signal.SIGKILL)
        yield f"{len(pods)} processes of pods, and {', '.join(MACHINE)}"
    finally:
        for one in reversed(words):
            scene.node.start(one)


@contextmanager
def _drain(scene: Scene) -> Iterator[str]:
    node = scene.node.name
    try:
        scene.cluster.kubectl(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=100s"
        )
        yield "drained"
    finally:
        scene.cluster.kubectl("uncordon", node)


@contextmanager
def _hang_node(scene: Scene) -> Iterator[str]:
    daemons = [_daemon(scene, program) for program in MACHINE]
    with _stopped(daemons), _stopped(pods := list(scene.node.pods())):
        yield f"{len(pods)} processes of pods, and {', '.join(MACHINE)}"


@contextmanager
def _exhaust_node(scene: Scene) -> Iterator[str]:
    before = {pid: began(pid) for pid in scene.node.pods()}
    memory.exhaust(scene.node.group("memory", "kubepods"))
    ended = sum(began(pid) != birth for pid, birth in before.items())
    if not ended:
        raise RuntimeError("the kernel killed none of the pods' processes for lack of memory")
    yield f"{ended} of {len(before)} processes of pods"


# Disks and connections


@contextmanager
def _full(scene: Scene, part: str) -> Iterator[str]:
    folder = {"saver": scene.claim, "broker": scene.server.folder, "node": scene.node.root / "var/lib/kubelet"}[part]
    with disk.full(folder):
        yield {"saver": "the claim for results", "broker": "Pulsar's data", "node": "the kubelet's folder"}[part]
    if scene.server.has_ended:  # Pulsar exits when its storage fails
        scene.server.start()


@contextmanager
def _cut(scene: Scene, part: str, kind: str) -> Iterator[str]:
    pulsar, events = urlsplit(scene.server.url), urlsplit(scene.events)
    admin = urlsplit(scene.server.admin_url)
    services = {
        "pulsar": Service(str(pulsar.hostname), [pulsar.port or 0, admin.port or 0]),
        "events": Service(str(events.hostname), [events.port or 0]),
        # The kubelet connects over loopback, which tells it from other clients of the node (`scene.prepare`).
        "api": Service("127.0.0.1" if part == "kubelet" else scene.node.address, [6443]),
    }
    everybody = part in {"node", "kubelet"} or kind == "events"
    followed = (
        None if everybody else lambda: {pod["status"]["podIP"] for pod in scene.pods(part) if "podIP" in pod["status"]}
    )
    if followed is not None and not followed():
        raise NoVictim(part)
    with cut(scene.node, services[kind], followed):
        yield f"{part} from {services[kind].address}"
