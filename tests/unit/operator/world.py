"""A small simulation of everything around the operator: an API server, its controllers, a Pulsar, and roles.

It models only what the operator depends on: a Job whose terminating pod exits with 0 is complete, deleted objects exist
for some time, topics keep the work that was done, and nothing works without Pulsar.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from testing.manifests import cases
from tests.unit.operator.fakes import merge

from skymap_api.names import JOB_ROLES, SAVER, Names
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import BestFitStatus, LevelStatus, Reason
from skymap_operator.cluster.trim import trimmed
from skymap_operator.decide import actions as do
from skymap_operator.observe.children import Children
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedState,
    ObservedWarning,
    Pod,
    PulsarFault,
    PulsarState,
)
from skymap_operator.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE, NAME = "alerts", "alert"
SETTINGS = Settings(
    image="registry.example/scanner:1",
    pulsar_service_url="pulsar://pulsar:6650",
    pulsar_admin_url="http://pulsar:8080",
)
Resource = dict[str, Any]


def resource(spec: Resource, **metadata: Any) -> Resource:
    """Return a SkymapScan as the API server does."""
    made = copy.deepcopy(cases.manifest(spec, NAME))
    made["spec"].setdefault("workers", {}).setdefault("max", 100)
    made["metadata"] |= {
        "namespace": NAMESPACE,
        "uid": "uid-1",
        "generation": 1,
        "creationTimestamp": START.isoformat(),
        "finalizers": [],
    } | metadata
    return made


def children(objects: Mapping[tuple[str, str], Resource], claim: Resource | None = None) -> Children:
    """Return the scan's children among objects by kind and name."""
    names = Names.of(NAMESPACE, NAME)
    return Children.of(
        "uid-1",
        objects.get(("ConfigMap", names.config_map)),
        objects.get(("Deployment", names.workers)),
        claim,
        {role: objects.get(("Job", names.job(role))) for role in JOB_ROLES},
    )


@dataclass
class Work:
    """The content of a scan's topics."""

    waiting: int = 0
    fitted: int = 0
    collected: int = 0
    sent: int = 0
    ended: bool = False
    progress: Progress | None = None


@dataclass
class World:
    """One scan and everything around it. Only `step` moves the time.

    ``bad_event``: the producer explains an error; ``bad_format``: a format that the saver cannot write;
    ``other_software``: the saver's image is not the one that began the scan;
    ``image_id``: what the nodes call the image of the pods;
    ``poisoned``: the last messages of progress and plan cannot be read;
    ``saver_needs``: the memory (MiB) without which it is ended, or ends itself (``saver_asks``).
    """

    scan: Resource
    tasks: int = 40
    bad_event: bool = False
    bad_format: str = ""
    other_software: bool = False
    saver_needs: int = 0
    saver_asks: bool = False
    image_id: str = ""
    pulsar_up: bool = True
    poisoned: bool = False
    quota: int = 1000
    now: datetime = START
    objects: dict[tuple[str, str], Resource] = field(default_factory=dict)
    claim: Resource | None = None
    pods: dict[str, Resource] = field(default_factory=dict)
    topics: dict[str, frozenset[str]] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    frames: tuple[str, ...] = ()
    events: list[do.Emit] = field(default_factory=list)
    deleted: bool = False
    pod_number: int = 0
    uid_number: int = 0

    def __post_init__(self) -> None:
        self.names = Names.of(NAMESPACE, NAME)
        self.own = self.names.topics("icecube")

    # What the operator observes

    def observe(self) -> ObservedState:
        return ObservedState(
            now=self.now,
            scan=ObservedScan.of(copy.deepcopy(self.scan)),
            pulsar=self._pulsar(),
            children=children(
                {key: trimmed(key[0], copy.deepcopy(found)) for key, found in self.objects.items()},
                copy.deepcopy(self.claim),
            ),
            pods=tuple(Pod.of(trimmed("Pod", pod)) for pod in self.pods.values()),
            warnings=self._warnings(),
        )

    def _pulsar(self) -> PulsarState | PulsarFault:
        if not self.pulsar_up:
            return PulsarFault(Reason.PULSAR_UNAVAILABLE, "cannot reach http://pulsar:8080")
        return PulsarState(
            topics=dict(self.topics),
            tasks=Subscription(self.work.waiting, 0) if self.own.to_be_scanned in self.topics else None,
            fits=Subscription(self.work.fitted, 0) if self.own.scanned in self.topics else None,
            plan_ended=self.work.ended and not self.poisoned,
            progress=None if self.poisoned else self.work.progress,
            progress_fault="progress: not a progress snapshot" if self.poisoned else "",
            plan_fault="plan: not an entry of a plan" if self.poisoned else "",
            progress_time=self.now,
            metadata=self.frames,
        )

    def _warnings(self) -> tuple[ObservedWarning, ...]:
        job = self.names.job(SAVER)
        if len(self.pods) < self.quota or ("Job", job) not in self.objects:
            return ()
        return (ObservedWarning(f"Job {job}", "FailedCreate", 'pods "x" is forbidden: exceeded quota: small'),)

    # What the operator does

    def apply(self, action: do.Action) -> None:  # noqa: C901, PLR0912 - one case for each action
        match action:
            case do.AddFinalizer():
                self.scan["metadata"]["finalizers"] = ["skymap.icecube.wisc.edu/topics"]
            case do.RemoveFinalizer():
                assert not self.pods, "the scan is released while pods run"
                self.scan["metadata"]["finalizers"] = []
            case do.SetStatus(status):
                self.scan["status"] = wire(status)
            case do.EnsureTopics(topics):
                assert self.pulsar_up
                assert self.scan["metadata"]["finalizers"], "topics are created before the finalizer"
                self.topics |= {name: frozenset(subscriptions) for name, subscriptions in topics}
            case do.DeleteTopics(topics):
                self._delete_topics(topics)
            case do.Create(manifest):
                self._create(manifest)
            case do.Replace(manifest):
                key = (manifest["kind"], manifest["metadata"]["name"])
                old = self.objects[key]
                meta = manifest["metadata"] | {"uid": old["metadata"]["uid"]}
                self.objects[key] = manifest | {"metadata": meta, "status": old.get("status", {})}
            case do.Patch(kind, name, patch):
                self._patch(kind, name, patch)
            case do.EnlargeClaim(_, size):
                assert self.claim is not None
                self.claim["spec"]["resources"]["requests"]["storage"] = size
            case do.Delete(kind, name, grace):
                assert kind != "PersistentVolumeClaim", "results are never deleted"
                target = self.pods[name] if kind == "Pod" else self.objects[kind, name]
                target["metadata"]["deletionTimestamp"] = self.now.isoformat()
                if grace is not None:
                    target["metadata"]["deletionGracePeriodSeconds"] = grace
            case do.DeleteScan():
                self.delete()
            case do.Emit():
                self.events.append(action)

    def _delete_topics(self, topics: tuple[str, ...]) -> None:
        assert self.pulsar_up
        assert not self.live_pods(), "topics are deleted under running pods"
        for name in topics:
            self.topics.pop(name, None)
        self.frames = tuple(name for name in self.frames if name not in topics)
        if self.own.plan not in self.topics:
            self.work = Work()

    def _create(self, manifest: Resource) -> None:
        if manifest["kind"] == "PersistentVolumeClaim":
            self.claim = manifest
            return
        key = (manifest["kind"], manifest["metadata"]["name"])
        assert key not in self.objects
        self.uid_number += 1
        if manifest["kind"] in {"Job", "Deployment"}:
            assert set(self.topics) >= set(self.own.all()), "pods are created before topics"
        self.objects[key] = copy.deepcopy(manifest)
        self.objects[key]["metadata"]["uid"] = f"uid-{key[1]}-{self.uid_number}"

    def _patch(self, kind: str, name: str, patch: Resource) -> None:
        target = self.pods[name] if kind == "Pod" else self.objects[kind, name]
        merge(target, patch)

    def delete(self) -> None:
        """Delete the scan as kubectl does."""
        self.scan["metadata"]["deletionTimestamp"] = self.now.isoformat()

    # What the cluster does

    def step(self, seconds: float = 10.0) -> None:
        """Let time pass: controllers, kubelets and roles each do one thing."""
        self.now += timedelta(seconds=seconds)
        self._collect_garbage()
        self._end_pods()
        for role in JOB_ROLES:
            self._control_job(role)
        self._control_deployment()
        for pod in list(self.pods.values()):
            self._run(pod)

    def live_pods(self) -> list[Resource]:
        return [pod for pod in self.pods.values() if pod["status"]["phase"] in {"Pending", "Running"}]

    def _collect_garbage(self) -> None:
        if "deletionTimestamp" in self.scan["metadata"] and not self.scan["metadata"]["finalizers"]:
            self.deleted = True
            self.objects.clear()
            self.pods.clear()
        for key, found in list(self.objects.items()):
            if "deletionTimestamp" in found["metadata"]:
                del self.objects[key]
                for pod in self.pods.values():
                    if pod["owner"] == key:
                        pod["metadata"]["deletionTimestamp"] = self.now.isoformat()

    def _end_pods(self) -> None:
        """End terminating pods, with exit code 143, which a Job does not count."""
        for name, pod in list(self.pods.items()):
            if "deletionTimestamp" in pod["metadata"]:
                del self.pods[name]

    def _control_job(self, role: str) -> None:
        key = ("Job", self.names.job(role))
        job = self.objects.get(key)
        if job is None or job.get("status", {}).get("conditions"):
            return
        pods = [pod for pod in self.pods.values() if pod["owner"] == key]
        if job["spec"]["suspend"]:
            for pod in pods:
                pod["metadata"]["deletionTimestamp"] = self.now.isoformat()
        elif not any(pod["status"]["phase"] in {"Pending", "Running"} for pod in pods):
            self._new_pod(key, role)

    def _control_deployment(self) -> None:
        key = ("Deployment", self.names.workers)
        deployment = self.objects.get(key)
        if deployment is None:
            return
        pods = [pod for pod in self.pods.values() if pod["owner"] == key]
        for _ in range(deployment["spec"]["replicas"] - len(pods)):
            self._new_pod(key, "worker")
        for pod in pods[deployment["spec"]["replicas"] :]:
            pod["metadata"]["deletionTimestamp"] = self.now.isoformat()

    def _new_pod(self, owner: tuple[str, str], role: str) -> None:
        if len(self.pods) >= self.quota:
            return
        self.pod_number += 1
        name = f"{owner[1]}-{self.pod_number}"
        labels = {"app.kubernetes.io/component": role}
        self.pods[name] = {
            "metadata": {
                "name": name,
                "labels": labels,
                "ownerReferences": [{"uid": self.objects[owner]["metadata"]["uid"], "controller": True}],
            },
            "status": {"phase": "Pending", "podIP": f"10.0.0.{self.pod_number}"},
            "owner": owner,
        }

    def _run(self, pod: Resource) -> None:
        status, role = pod["status"], pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if status["phase"] == "Pending" and ("ConfigMap", self.names.config_map) in self.objects and self.claim:
            running = {"running": {"startedAt": self.now.isoformat()}}
            ready = [{"type": "Ready", "status": "True"}]
            containers = [{"state": running, "imageID": self.image_id}]
            status |= {"phase": "Running", "containerStatuses": containers, "conditions": ready}
        elif status["phase"] == "Running" and self.pulsar_up:
            getattr(self, f"_{role}")(pod)

    def _producer(self, pod: Resource) -> None:
        if self.bad_event:
            self.end_pod(pod, 1, "Error: event.json: holds no physics (P) frame, so there is no event to scan")
            return
        self.frames = (f"{self.own.metadata}{0x123:064x}",)
        more = min(self.tasks - self.work.sent, 25)
        self.work.sent += more
        self.work.waiting += more
        if self.work.sent == self.tasks:
            self.work.ended = True
            self.end_pod(pod, 0)

    def _worker(self, _: Resource) -> None:
        fits = min(self.work.waiting, 2)
        self.work.waiting -= fits
        self.work.fitted += fits

    def _collector(self, pod: Resource) -> None:
        self.work.collected += self.work.fitted
        self.work.fitted = 0
        if self.work.ended and self.work.collected == self.tasks:
            self.end_pod(pod, 0)

    def _saver(self, pod: Resource) -> None:
        if not self.work.sent:
            return
        if self.other_software:
            self.end_pod(pod, 3, "Error: the scan was begun by skymap-scanner 0.0.9, this is skymap-scanner 0.1.0")
            return
        done = self.work.ended and self.work.collected == self.tasks
        if done and self._saver_ends(pod):
            return
        reported = 0 if self.work.progress is None else self.work.progress.done
        level = LevelStatus(nside=1, done=self.work.collected, planned=self.tasks, decided=True)
        best = BestFitStatus(nside=1, pixel=3, ra=10.0, dec=20.0, llh=5.0)
        self.work.progress = Progress(
            name=self.names.scan,
            phase=ProgressPhase.DONE if done else ProgressPhase.SCANNING,
            levels=(level,),
            fits=FitCounts(done=level.done, started=level.planned, planned=level.planned),
            rate=max(self.work.collected - reported, 0) / 10,
            eta=10.0,
            elapsed=0.0,
            best=best,
            outputs=("scan.i3.zst",) if done else (),
        )
        if done:
            self.end_pod(pod, 0)

    def _saver_ends(self, pod: Resource) -> bool:
        """Let the saver fail at the end, for its memory or a format."""
        container = self.objects[pod["owner"]]["spec"]["template"]["spec"]["containers"][0]
        limit = container["resources"]["limits"]["memory"]
        size = int(limit[:-2]) * {"Mi": 1, "Gi": 1024}[limit[-2:]]
        if size < self.saver_needs and self.saver_asks:
            self.end_pod(pod, 4, "Error: the results of this scan need more memory")
        elif size < self.saver_needs:
            self.end_pod(pod, 137, reason="OOMKilled")
        elif self.bad_format and self.bad_format in container["args"]:
            self.end_pod(pod, 1, f"Error: the format {self.bad_format} cannot be written")
        return pod["status"]["phase"] == "Failed"

    def end_pod(self, pod: Resource, code: int, words: str = "", reason: str = "Error") -> None:
        """End a pod; its Job follows the failure policy."""
        ended = {
            "terminated": {"exitCode": code, "reason": reason, "message": words, "startedAt": self.now.isoformat()}
        }
        pod["status"] |= {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": ended}]}
        job = self.objects.get(pod["owner"])
        if job is None:
            return
        if code in {0, 1, 2, 3, 4}:
            self._job_ends(job, "Failed" if code else "Complete")
        elif reason == "OOMKilled":
            job["failures"] = job.get("failures", 0) + 1
            if job["failures"] > job["spec"].get("backoffLimit", math.inf):
                self._job_ends(job, "Failed")

    def _job_ends(self, job: Resource, how: str) -> None:
        one = {"type": how, "status": "True", "lastTransitionTime": self.now.isoformat(), "reason": "PodFailurePolicy"}
        job["status"] = {"conditions": [one]}


def wire(status: SkymapScanStatus) -> Resource:
    """Return a status as the API server stores it."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
