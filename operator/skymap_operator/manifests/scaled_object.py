"""The ScaledObject by which KEDA, where it is chosen, sets how many workers there are.

KEDA asks the operator's web server how many that should be. An autoscaler that aims at an average value of 1 for each
worker wants as many workers as the value says, whatever their number is now. Its own ideas of when to wait are switched
off, for the operator has decided that already; what is left is its tolerance: it leaves a number that differs by less
than a tenth. While the operator cannot be asked the number stays, since no fallback is given.
Source: https://keda.sh/docs/2.17/reference/scaledobject-spec and .../scalers/metrics-api.
"""

from __future__ import annotations

import math

from skymap_api.names import WORKER
from skymap_api.resource.base import Manifest
from skymap_operator.manifests.labels import metadata, signed
from skymap_operator.manifests.recipe import Recipe


def scaled_object(recipe: Recipe) -> Manifest:
    """Return the ScaledObject of the workers' Deployment.

    Raises
    ------
    ValueError
        If the settings do not say where KEDA reaches the operator.
    """
    settings = recipe.settings
    if settings.scaling_url is None:
        raise ValueError("the settings do not say where KEDA reaches the operator")
    most = recipe.spec.workers.max or settings.max_workers
    at_once = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": most, "periodSeconds": 1}]}
    trigger = {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            "url": f"{settings.scaling_url}/scaling/{recipe.namespace}/{recipe.name}",
            "format": "json",
            "valueLocation": "wanted",
            "targetValue": "1",
            "activationTargetValue": "0",
        },
    }
    return signed(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": metadata(recipe, recipe.names.workers, WORKER),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": recipe.names.workers},
                "pollingInterval": math.ceil(settings.scaling_interval),
                "cooldownPeriod": 0,
                "minReplicaCount": 0,
                "maxReplicaCount": most,
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": at_once, "scaleDown": at_once}}},
                "triggers": [trigger],
            },
        }
    )
