"""Whatever the definition of SkymapScan accepts, the API server accepts as objects and pods, on a real API server."""

from __future__ import annotations

import httpx
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError
from testing.manifests import cases, strategies
from tests.unit.operator.recipes import Manifest, everything, made

from skymap_api.names import SAVER
from skymap_operator import manifests
from skymap_operator.decide.drift import differs
from skymap_scanner.kubectl.fetch_job import ResultSource, build_job

pytestmark = pytest.mark.usefixtures("definition")

_PATHS = {
    "Pod": "api/v1/namespaces/{}/pods",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
}


def create(api: httpx.Client, manifest: Manifest) -> httpx.Response:
    """POST an object as a dry run."""
    path = "/" + _PATHS[manifest["kind"]].format(manifest["metadata"]["namespace"])
    return api.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=manifest)


def pod_of(owner: Manifest) -> Manifest:
    """Return a pod as the controller of a Job or Deployment makes it."""
    template = owner["spec"]["template"]
    meta = template["metadata"] | {"name": "pod"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def objects_and_pods(values: cases.Spec) -> list[Manifest]:
    """Return the objects of a scan, the Job of ``skymap-scanner fetch``, and the pods of all."""
    recipe = made(values)
    source = ResultSource.from_saver(recipe.claim, recipe.folder, recipe.image, manifests.jobs(recipe)[SAVER])
    objects = [*everything(recipe), build_job("fetch", source)]
    objects += [pod_of(one) for one in objects if "template" in one.get("spec", {})]
    return [one | {"metadata": one["metadata"] | {"namespace": "default"}} for one in objects]


def faults(api: httpx.Client, values: cases.Spec) -> list[str]:
    """Return why objects of a scan are invalid, or would be written again and again.

    That a ServiceAccount or PriorityClass is missing (403) is not a fault of the object.
    """
    return [fault for one in objects_and_pods(values) if (fault := _fault(one, create(api, one)))]


def _fault(manifest: Manifest, answer: httpx.Response) -> str:
    if answer.status_code == httpx.codes.FORBIDDEN:
        return ""
    if answer.status_code != httpx.codes.CREATED:
        return str(answer.json()["message"])
    again = manifest["kind"] in {"ConfigMap", "Deployment"} and differs(answer.json(), manifest)
    return f"{manifest['kind']} differs from what was written" if again else ""


@pytest.mark.parametrize("case", cases.ACCEPTED, ids=lambda case: case.name)
def test_objects_of_a_valid_scan_are_valid(api: httpx.Client, case: cases.Accepted) -> None:
    assert faults(api, case.spec) == []


SPECS = st.fixed_dictionaries(
    {"event": st.just({"simulate": {}})},
    optional={
        "podTemplate": strategies.POD_TEMPLATE,
        "workers": strategies.optional(podTemplate=strategies.POD_TEMPLATE, resources=strategies.RESOURCES),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPECS)
def test_models_accept_no_pod_that_the_api_server_rejects(api: httpx.Client, spec: cases.Spec) -> None:
    try:
        assert faults(api, spec) == []
    except ValidationError:
        return  # rejected by the models first
