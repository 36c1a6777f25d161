"""A suspended scan: its pods end, everything else stays. Nothing new is created."""

from __future__ import annotations

from skymap_api.resource import SkymapScanSpec
from skymap_api.resource.status import Phase, WorkersStatus
from skymap_operator.decide.actions import Action, Decision, Patch
from skymap_operator.decide.drift import patch_job
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.decide.status import Verdict, update_status
from skymap_operator.decide.wanted import recipe_of
from skymap_operator.manifests import jobs
from skymap_operator.observe.state import ObservedState
from skymap_operator.settings import Settings


def decide_suspended(observed: ObservedState, spec: SkymapScanSpec, settings: Settings) -> Decision:
    """Return the actions that suspend the Jobs and set the number of workers to 0."""
    recipe = recipe_of(observed, spec, settings)
    actions: list[Action] = []
    for role, wanted in jobs(recipe).items():
        job = observed.children.owned_job(role)
        if job is not None and job.managed and not job.finished:
            actions += patch_job(job, wanted | {"spec": wanted["spec"] | {"suspend": True}})
    deployment, scaled = observed.children.owned_deployment(), None
    if deployment is not None and deployment.managed and deployment.replicas:
        actions.append(Patch(deployment.kind, deployment.name, {"spec": {"replicas": 0}}))
        scaled = Direction.DOWN, Cause.SUSPENDED
    verdict = Verdict(Phase.SUSPENDED, workers=WorkersStatus(reason="the scan is suspended"))
    return Decision((*actions, *update_status(observed, verdict)), settings.resync_interval, scaled)
