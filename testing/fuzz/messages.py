"""Messages on a scan's topics: tasks, fits, plans, progress and crash reports; and what Pulsar answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from skymap_api import pulsar_protocol
from skymap_api.progress import FitCounts, Progress, ProgressPhase, decode_progress, encode_progress
from skymap_api.protobuf import number, text
from skymap_api.pulsar_admin import AdminRequests, Answer, PulsarAdminError
from skymap_api.resource.status import BestFitStatus, LevelStatus
from skymap_operator.decide.status import Verdict, next_status, phase_of
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarState
from skymap_scanner.broker.protocol import Message
from skymap_scanner.broker.pulsar import handshake
from skymap_scanner.errors import BrokerError
from skymap_scanner.i3 import FitStatus, Frame, I3EventHeader
from skymap_scanner.i3.archive import U32
from skymap_scanner.i3.frame import checksum
from skymap_scanner.reconstruction.protocol import Fit, Loss
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.reference import event_without_pulses
from skymap_scanner.roles.task_frames import decode_statement, decode_task, fit_frame
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.worker.crash_reports import CrashReport, decode_crash_report
from skymap_scanner.scan.pixels import Pixel, whole_sky
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import (
    CalibrationEntry,
    EndEntry,
    EventFacts,
    ScanEntry,
    ahead_entry,
    decode_entry,
    level_entry,
    seeds_entry,
)
from testing.fuzz.target import Target, require

EVENT = event_without_pulses("run00000001.evt000000000002.test", I3EventHeader(run_id=1, event_id=2))
FACTS = EventFacts(name=EVENT.name, run=1, event=2, mjd=EVENT.mjd, kind="test", real=False, metadata_topics=("mf_a",))
SCAN = ScanEntry(
    name="scan", event=FACTS, levels="1:0 2:3", seeds=7, first_seeds=1, reconstruction="dummy", calibrate=60
)

#: Begins of the frames of tasks and fits, which no mutation needs to find.
HEAD = b"[i3]\6\0\0\0\0\0"


def _whole(body: bytes) -> bytes:
    """Return a frame with the right checksum."""
    return HEAD + body + U32.pack(checksum(body))


def _body(frame: bytes) -> bytes:
    return frame[len(HEAD) : -4]


def _frames() -> tuple[bytes, bytes]:
    """Make a task and its fit."""
    task = next(TaskMaker(SCAN, EVENT).tasks(Pixel(1, 4), EVENT))
    payload = TaskMaker(SCAN, EVENT).message(task).payload
    fit = Fit(
        status=FitStatus.OK,
        llh=100.0,
        zenith=task.start.zenith,
        azimuth=task.start.azimuth,
        position=(1.0, 2.0, 3.0),
        time=9800.0,
        energy_in=1e3,
        energy_total=2e3,
        losses=(Loss((1.0, 2.0, 3.0), 9700.0, 1e3),),
        evaluations=10,
    )
    return payload, fit_frame(decode_task(payload)[1], fit, "dummy")


def check_task(data: bytes) -> None:
    """Read a task; the first byte says whether the rest is the whole frame."""
    task, frame = decode_task(data[1:] if data[:1] == b"w" else _whole(data[1:]))
    require(task.name.isprintable())
    require(Frame.from_bytes(frame.to_bytes()).to_bytes() == frame.to_bytes())


def check_fit(data: bytes) -> None:
    """Read and validate a fit, and the best fit of a pixel."""
    payload = data[1:] if data[:1] == b"w" else _whole(data[1:])
    decode_statement(payload)
    validator = FitValidator(SCAN)
    try:
        fit = validator.fit(Message(("t", 1), payload, "1/4", {"seed": "0"}))
        require((fit.pixel == Pixel(1, 4) and abs(fit.llh) <= 1e12) or fit.llh != fit.llh, "a fit of another task")
    finally:
        validator.best_fit(Message(("t", 1), payload, None, {}))


def check_plan(data: bytes) -> None:
    """Read the entries of a plan, one a line, and follow it."""
    plan = Plan()
    try:
        for line in data.split(b"\n"):
            plan.add(decode_entry(line))
    finally:
        for level in plan.levels.values():
            require(level == sorted(set(level)), "pixels twice, or not sorted")
            require(all(plan.has_started(pixel) for pixel in level), "pixels that are never started")
        for place in range(len(plan.started)):
            one = plan.round_at(place)
            require(plan.rounds_of(one.pixel) > one.number, "a round that is not started")
        plan.complete(lambda _: True)


def plan_seeds() -> list[bytes]:
    """Write plans."""
    level = level_entry(1, whole_sky(1), [])
    fine = level_entry(2, [Pixel(2, 4), Pixel(2, 5)], [Pixel(2, 5)])
    entries = [SCAN, level, seeds_entry(1, [Pixel(1, 3)]), ahead_entry(2, [Pixel(2, 5)]), fine]
    whole = [*entries, CalibrationEntry(nside=2, pixel=4), EndEntry(levels=2)]
    return [b"\n".join(entry.encode() for entry in whole[:count]) for count in (1, 2, 4, 7)]


def check_progress(data: bytes) -> None:
    """Read a snapshot, and compute the status that the operator makes of it."""
    progress = decode_progress(data)
    require(decode_progress(encode_progress(progress)) == progress)
    state = PulsarState(progress=progress, progress_time=datetime(2026, 1, 1, tzinfo=UTC))
    observed = ObservedState(datetime(2026, 1, 1, tzinfo=UTC), ObservedScan.of(RESOURCE), state)
    status = next_status(observed, Verdict(phase_of(observed)))
    text = status.model_dump_json()
    require("NaN" not in text and "Infinity" not in text, "a number that JSON lacks")
    require(text.isprintable(), "control characters in the status")
    require(type(status).model_validate_json(text) == status, "a status that cannot be read back")


RESOURCE = {
    "apiVersion": "skymap.icecube.wisc.edu/v1alpha1",
    "kind": "SkymapScan",
    "metadata": {
        "name": "a",
        "namespace": "b",
        "uid": "c",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"event": {"simulate": {}}},
}


def progress_seeds() -> list[bytes]:
    """Write snapshots."""
    level = LevelStatus(nside=1, done=5, planned=12, decided=True, failed=1)
    best = BestFitStatus(nside=1, pixel=4, ra=10.0, dec=-5.0, llh=100.0, area_90=3.0, contours="wilks")
    fits = FitCounts(done=5, started=12, planned=12)
    made = Progress(
        name="scan",
        phase=ProgressPhase.DONE,
        levels=(level,),
        fits=fits,
        rate=1.5,
        eta=7.0,
        elapsed=5.0,
        best=best,
        outputs=("a.i3.zst",),
        obstacle="a full disk",
        left_out="png: too large",
    )
    return [encode_progress(made), encode_progress(made.model_copy(update={"best": None, "eta": None, "levels": ()}))]


def check_crash_report(data: bytes) -> None:
    """Read a crash report."""
    report = decode_crash_report(data)
    if report is not None:
        require(decode_crash_report(report.encode()) == report)
        str(report)


class _Connection:
    """What a server has sent, in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def sendall(self, _: bytes) -> None:
        """Take the greeting."""

    def recv(self, count: int) -> bytes:
        """Return the next bytes, some at a time."""
        taken, self._data = self._data[: min(count, 7)], self._data[min(count, 7) :]
        return taken


def check_handshake(data: bytes) -> None:
    """Read what a server answers to the handshake of Pulsar's binary protocol."""
    answer = handshake._exchange(_Connection(data), b"")  # type: ignore[arg-type]
    handshake._judge(answer, "pulsar://host:6650")


def handshake_seeds() -> list[bytes]:
    """Write a greeting as a broker does, and an error."""
    commands = [b"\x08\x03\x1a\x09\x0a\x05hello\x10\x13", b"\x08\x0e\x72\x08\x08\x00\x10\x03\x1a\x02no"]
    return [(len(one) + 4).to_bytes(4, "big") + len(one).to_bytes(4, "big") + one for one in commands]


def check_admin(data: bytes) -> None:
    """Give the same answer to every request of every operation of Pulsar's admin interface.

    The first byte is the status, the rest up to a line end the redirect, and what follows the body.
    """
    head, _, body = data[1:].partition(b"\n")
    headers = {"location": head.decode("latin-1")}
    answer = Answer(_STATUSES[data[0] % len(_STATUSES)] if data else 200, headers, body)
    topic = "persistent://icecube/skymap/scan-plan"
    requests = AdminRequests("http://pulsar:8080", trusted=True)
    for exchange in (
        requests.list_topics("icecube", "skymap"),
        requests.subscriptions(topic),
        requests.partition_count(topic),
        requests.delete_topic(topic, partitioned=False),
    ):
        try:
            next(exchange)
            while True:
                exchange.send(answer)
        except (StopIteration, PulsarAdminError):
            continue


_STATUSES = (200, 204, 404, 409, 412, 401, 500, 307)


def admin_seeds() -> list[bytes]:
    """Write answers of Pulsar."""
    consumer = {"address": "/10.0.0.7:41234", "connectedSince": "2026-01-01T00:00:00Z", "msgOutCounter": 5}
    stats = {
        "subscriptions": {"workers": {"msgBacklog": 3, "unackedMessages": 1, "type": "Shared", "consumers": [consumer]}}
    }
    bodies = (["persistent://icecube/skymap/scan-plan-partition-0"], stats, {"partitions": 3}, {"reason": "no"})
    return [
        *(b"\0\n" + json.dumps(body).encode() for body in bodies),
        b"\6\n" + json.dumps(bodies[-1]).encode(),
        b"\7http://pulsar:8080/admin/v2/persistent/icecube/skymap?authoritative=true\n",
    ]


def check_broker(data: bytes) -> None:
    """Read a command of a broker, or what follows that of a message; the first byte says which."""
    if data[:1] == b"c":
        command = pulsar_protocol.read_command(data[1:])
        for field in command.fields:
            command.number(field), command.text(field), command.entry_id(field)
    else:
        pulsar_protocol.read_message(data[1:])


def broker_seeds() -> list[bytes]:
    """Write commands and a message as a broker does."""
    metadata = text(1, b"saver") + number(2, 5) + number(3, 1_700_000_000_000) + number(8, 3) + number(9, 1000)
    message = b"\x0e\x01\0\0\0\0" + len(metadata).to_bytes(4, "big") + metadata + b"payload"
    place = text(2, number(1, 5) + number(2, 2**64 - 1))
    last = number(1, 30) + text(30, place + number(2, 1))
    error = number(1, 14) + text(14, number(1, 1) + number(2, 11) + text(3, b"no topic"))
    return [b"c" + last, b"c" + error, b"m" + message, b"m\x0e\x02\0\0\0\2\x08\1" + message]


def _both(which: int) -> list[bytes]:
    payload = _frames()[which]
    return [b"w" + payload, b"b" + _body(payload)]


TARGETS = (
    Target("task", check_task, lambda: _both(0), (BrokerError,)),
    Target("fit", check_fit, lambda: _both(1), (BrokerError,)),
    Target("plan", check_plan, plan_seeds, (BrokerError,)),
    Target("progress", check_progress, progress_seeds, (ValueError,)),
    Target(
        "crash-report",
        check_crash_report,
        lambda: [CrashReport(task="a", name="pixel", attempt="b", limit=5.0, hung_at="File").encode()],
        (),
    ),
    Target("handshake", check_handshake, handshake_seeds, (BrokerError,)),
    Target("admin", check_admin, admin_seeds, ()),
    Target("broker", check_broker, broker_seeds, (ValueError,)),
)
