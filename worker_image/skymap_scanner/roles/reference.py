"""Reference of the wire format, from messages that the code makes: ``python -m skymap_scanner.roles.reference``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from skymap_api.names import COLLECTOR_SUBSCRIPTION, WORKERS_SUBSCRIPTION, ScanTopics, metadata_namespace
from skymap_api.progress import Progress
from skymap_api.reference import describe_fields
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, LevelStatus
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus, Frame, I3EventHeader, Pulses
from skymap_scanner.reconstruction.protocol import failed_fit
from skymap_scanner.roles.task_frames import decode_task, fit_frame
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.roles.work import WORK_PROPERTY, Work
from skymap_scanner.roles.worker.crash_reports import CrashReport
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan_entries import (
    AheadEntry,
    CalibrationEntry,
    EndEntry,
    EventFacts,
    LevelEntry,
    OnlineEntry,
    ScanEntry,
    SeedsEntry,
)

#: What each topic carries, by its field in `ScanTopics`.
TOPICS = {
    "to_be_scanned": f"tasks; subscription `{WORKERS_SUBSCRIPTION}`",
    "scanned": f"fits; subscription `{COLLECTOR_SUBSCRIPTION}`",
    "collected": "best fits, one message for each round of a pixel",
    "crash_reports": "reports of worker crashes",
    "plan": "decisions of the producer",
    "progress": "snapshots, of which the last counts",
    "metadata": "one frame of the event; the name ends in its SHA-256",
}

#: What each key of a task's P frame holds.
TASK_KEYS = {
    "I3EventHeader": "the event's header; the sub-event is the pixel",
    "MillipedeSeedParticle": "the seed: fixed direction, first vertex and time",
    "SCAN_EventName": "name of the event",
    "SCAN_EventOverallIndex": "pixel × most fits of a pixel + seed, modulo 2³¹",
    "SCAN_HealpixNSide": "nside of the pixel",
    "SCAN_HealpixPixel": "index of the pixel (RING)",
    "SCAN_PositionVariationIndex": "number of the seed; after the last one, the fit of the best neighbour",
    "SCAN_WarmStart": "whether the seed comes from a solved pixel: the parent or a neighbour",
}

#: What each key holds that a fit adds to its task's frame.
FIT_KEYS = {
    "MillipedeStarting2ndPass": "the fitted track",
    "MillipedeStarting2ndPassParams": "the energy losses along it",
    "MillipedeStarting2ndPass_millipedellh": "−ln L, and the number of evaluations",
    "MillipedeStarting2ndPass_totalRecoLossesInside": "losses inside the instrumented volume (GeV)",
    "MillipedeStarting2ndPass_totalRecoLossesTotal": "all losses (GeV)",
    "SCAN_FailureReason": "why the fit failed; absent after a success",
    "SCAN_Likelihood": "identity of the likelihood; absent if the reconstruction has none",
    "SCAN_NegLogLikelihood": "−ln L; NaN after a failure",
    "SCAN_Reconstruction": "name of the reconstruction",
    "SCAN_Topology": "hypothesis that won, `track` or `cascade`; absent if the reconstruction does not say",
}

#: What each message property of a task, and of its fit, holds.
PROPERTIES = {
    "metadata_topics": "topics of the event's frames, separated by `;`",
    "reconstruction": "name of the reconstruction",
    "reconstruction_parameters": "its parameters as JSON",
    "seed": "number of the seed",
    "software": "what must fit the task: version of the scanner, and identity of the reconstruction",
}


_PLAN = (ScanEntry, EventFacts, OnlineEntry, LevelEntry, SeedsEntry, AheadEntry, CalibrationEntry, EndEntry)


def reference() -> str:
    """Return the page as Markdown; raises KeyError if a topic, key or property has no description here."""
    task, fit, properties = _messages()
    topics = [(name, TOPICS[field]) for field, name in dataclasses.asdict(ScanTopics.of("SCAN")).items()]
    return "\n".join(
        [
            "# Wire format\n",
            "What the roles of a scan send over its broker. The frames keep the keys of the original scanner.\n",
            "## Topics\n",
            "These are the topics of the scan `SCAN` in the tenant `icecube`.\n",
            _table(("topic", "messages"), topics),
            f"A scan of the operator has `{metadata_namespace('NAMESPACE')}`, named after its Kubernetes namespace,",
            f"instead of `{metadata_namespace()}`.\n",
            "## Tasks\n",
            "A task is one serialized P frame. The message key is the pixel, `NSIDE/INDEX`. The sequence id is the",
            "task's place in the plan.\n",
            _table(("key", "class", "content"), _keys(task, TASK_KEYS)),
            "It has these message properties:\n",
            _table(("property", "content"), [(name, PROPERTIES[name]) for name in properties]),
            "## Fits\n",
            "A fit is its task's frame with these keys added, and with the same message key and properties. A failed",
            "fit is a fit too.\n",
            _table(("key", "class", "content"), _keys(fit, FIT_KEYS, without=task)),
            f"The property `{WORK_PROPERTY}` is JSON with these fields. The map does not depend on it, and a fit that",
            "was given up without a worker has none.\n",
            describe_fields(Work.model_json_schema(by_alias=False)),
            "## Re-simulations\n",
            "A task with nside 0 is a re-simulation of the event; its number is the pixel's index. Direction and seed",
            "are those of the best pixel's fit. In its own fit, −ln L is that at the true direction above that of the",
            "best fit, energies and topology are those of the best fit, and there are no losses.\n",
            "## Best fits\n",
            "A best fit is the frame of the best fit in a round of a pixel: that of the first seeds, or of the others.",
            "A pixel has a second round only if the plan says so. With `keepAllSeeds`, the frames of the round's other",
            f"seeds follow in the same message. The property `{WORK_PROPERTY}` is a list of the work on all fits of",
            "the round, each with its `seed` and `llh`, and with its `failure` if it failed.\n",
            "## Plan\n",
            "Each message is one JSON object, whose `kind` names its form. Ranges of pixels are written as",
            "`3,7,20-31`.\n",
            *(_model(kind, 3) for kind in _PLAN),
            _model(CrashReport, 2, "Crash reports"),
            _model(Progress, 2, "Progress"),
            *(_model(kind, 3) for kind in (LevelStatus, CalibrationStatus, BestFitStatus)),
        ]
    )


def event_without_pulses(name: str, header: I3EventHeader) -> PreparedEvent:
    """Return an event for messages whose form does not depend on pulses."""
    return PreparedEvent(
        name=name,
        header=header,
        mjd=60000.0,
        pulse_series="",
        pulses=Pulses.from_series({}),
        window=(0.0, 0.0),
        errata={},
        late={},
        excluded=frozenset(),
        bright=frozenset(),
        vertex=np.zeros(3),
        vertex_time=0.0,
        geometry=ic86(),
    )


def _messages() -> tuple[Frame, Frame, list[str]]:
    """Make a task and its fit; return their frames, and the names of the message's properties."""
    event = event_without_pulses("run00000001.evt000000000001.simulation", I3EventHeader())
    facts = EventFacts(name=event.name, run=1, event=1, mjd=event.mjd, kind="", real=False, metadata_topics=())
    scan = ScanEntry(name="SCAN", event=facts, levels="1:0", seeds=1, reconstruction="dummy", software="")
    maker = TaskMaker(scan, event)
    task = next(maker.tasks(Pixel(1, 0), event))
    message = maker.message(task)
    _, frame = decode_task(message.payload)
    failed = failed_fit(task.start, FitStatus.GeneralFailure, "a reason")
    fit = fit_frame(frame.copy(), dataclasses.replace(failed, topology="track", likelihood="an identity"), "dummy")
    return Frame.from_bytes(message.payload), Frame.from_bytes(fit), sorted(message.properties)


def _keys(frame: Frame, contents: dict[str, str], without: Frame | None = None) -> list[tuple[str, str, str]]:
    added = sorted(key for key in frame if without is None or key not in without)
    return [(key, frame.class_name(key) or "", contents[key]) for key in added]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| `{first}` | {' | '.join(rest)} |" for first, *rest in rows]
    return "\n".join(lines) + "\n"


def _model(model: type[BaseModel], depth: int, title: str = "") -> str:
    text = (model.__doc__ or "").partition("\n")[0].replace("``", "`")
    fields = describe_fields(model.model_json_schema(by_alias=False))
    return f"{'#' * depth} {title or model.__name__}\n\n{text}\n\n{fields}"


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - the page is the output
