"""What the pods of all roles share: the `restricted` pod security level, access to Pulsar, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skymap_api.names import SCAN_NAME_ANNOTATION
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.workers import Resources
from skymap_operator.manifests.labels import labels
from skymap_operator.manifests.recipe import Recipe

TOKEN, TLS = "/pulsar/token", "/pulsar/tls"
#: Files of the TLS Secret, and the options that name them.
_CERTIFICATES = (("ca.crt", "--tls-trust-certs"), ("tls.crt", "--tls-certificate"), ("tls.key", "--tls-key"))

#: The file that a role touches while it goes on (`skymap_scanner.roles.liveness`), and for how long it may not (s).
ALIVE = "/tmp/alive"  # noqa: S108 - a volume of this pod alone
SILENCE = 60

#: How long a pod waits for its node to come back (s). By default it is five minutes, in which a lost worker counts
#: as one that works. What it had in hand is fitted again elsewhere.
LOST_NODE = tuple(
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    for taint in ("not-ready", "unreachable")
)

#: The pods' own keys in the ConfigMap with the scan.
BROKER_KEY, ADMIN_KEY, SCAN_KEY = "broker", "admin-url", "scan.yaml"


@dataclass(frozen=True)
class Volume:
    """A volume, and where it is mounted."""

    name: str
    source: Manifest
    path: str
    read_only: bool = False

    def volume(self) -> Manifest:
        """Return its entry in the pod."""
        return {"name": self.name, **self.source}

    def mount(self) -> Manifest:
        """Return its entry in a container."""
        return {"name": self.name, "mountPath": self.path} | ({"readOnly": True} if self.read_only else {})


def scratch(name: str, path: str) -> Volume:
    """Return an empty volume that lives as long as the pod, also when its containers are started again."""
    return Volume(name, {"emptyDir": {}}, path)


def secret(name: str, secret_name: str, path: str) -> Volume:
    """Return a Secret as files. While there is no such Secret the pod waits and says so."""
    return Volume(name, {"secret": {"secretName": secret_name}}, path, read_only=True)


def access_volumes(recipe: Recipe) -> list[Volume]:
    """Return the Secrets that Pulsar asks for, as files."""
    pulsar = recipe.pulsar
    token = [] if pulsar.token is None else [secret("pulsar-token", pulsar.token.name, TOKEN)]
    return token + ([] if pulsar.tls_secret is None else [secret("pulsar-tls", pulsar.tls_secret, TLS)])


def access_arguments(recipe: Recipe) -> list[str]:
    """Return the options that name those files."""
    pulsar = recipe.pulsar
    token = [] if pulsar.token is None else ["--auth-token", f"{TOKEN}/{pulsar.token.key}"]
    if pulsar.tls_secret is None:
        return token
    named = [[option, f"{TLS}/{key}"] for key, option in _CERTIFICATES if key in recipe.tls_keys]
    return [*token, *(word for words in named for word in words)]


def scan_arguments(recipe: Recipe, **options: str) -> list[str]:
    """Return the scan's name, and its topics under the options given for them."""
    bases = {"metadata": "skymap_metadata/mf_"}
    topics = [
        word
        for kind, option in options.items()
        for word in (option, f"persistent://{recipe.pulsar.tenant}/{bases.get(kind, f'skymap/{kind}')}")
    ]
    return ["-n", recipe.names.scan, *access_arguments(recipe), *topics]


def container(
    recipe: Recipe,
    name: str,
    arguments: Sequence[str],
    volumes: Sequence[Volume],
    resources: Resources,
    environment: Sequence[Manifest] = (),
) -> Manifest:
    """Return one container that runs a command of the scanner; the image's entry point is ``skymap-scanner``."""
    return {
        "name": name,
        "image": recipe.image,
        "imagePullPolicy": recipe.settings.image_pull_policy,
        "args": list(arguments),
        "env": [
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of this pod alone
            _from_config("SKYMAP_BROKER", recipe, BROKER_KEY),
            _from_config("SKYMAP_ADMIN_URL", recipe, ADMIN_KEY),
            *environment,
        ],
        "resources": to_manifest(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        # The last lines of the log stay with the pod's state: they are what a failure is explained with.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [volume.mount() for volume in volumes],
    }


def _from_config(variable: str, recipe: Recipe, key: str) -> Manifest:
    return {"name": variable, "valueFrom": {"configMapKeyRef": {"name": recipe.names.config_map, "key": key}}}


def pod_template(
    recipe: Recipe,
    role: str,
    main: Manifest,
    volumes: Sequence[Volume],
    *,
    restart: str,
    grace: int,
    first: Sequence[Manifest] = (),
    silence: int = SILENCE,
) -> Manifest:
    """Return a pod template at the `restricted` level; the containers ``first`` run before ``main``.

    ``silence``: for how long (s) the role may give no sign of life before it is started anew.
    """
    user = recipe.settings.user_id
    spec = {
        "automountServiceAccountToken": False,
        "containers": [_watched(main, silence)],
        "enableServiceLinks": False,
        "restartPolicy": restart,
        "securityContext": {
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": user,
            "runAsNonRoot": True,
            "runAsUser": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # The first process of a namespace takes no SIGTERM before it has said how: a worker that is asked to end while
        # it starts would work on for all of its time to end.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": grace,
        "tolerations": list(LOST_NODE),
        "volumes": [volume.volume() for volume in volumes],
    }
    if recipe.spec.priority == "Realtime" and recipe.settings.realtime_priority_class is not None:
        spec["priorityClassName"] = recipe.settings.realtime_priority_class
    if first:
        spec["initContainers"] = list(first)
    if pull_secrets := _pull_secrets(recipe):
        spec["imagePullSecrets"] = [{"name": name} for name in pull_secrets]
    return {
        "metadata": {"labels": labels(recipe, role), "annotations": {SCAN_NAME_ANNOTATION: recipe.name}},
        "spec": spec,
    }


def _watched(main: Manifest, silence: int) -> Manifest:
    """Return the container with a probe for a process that hangs: frozen, or stuck for good.

    One that has never made the file, as an older image, is left alone.
    """
    fresh = f'test ! -e {ALIVE} || test -n "$(find {ALIVE} -mmin -{math.ceil(silence / 60)})"'
    probe = {
        "exec": {"command": ["sh", "-c", fresh]},
        # A busy node takes its time to start even a shell: no fit may be ended for that.
        "periodSeconds": 30,
        "timeoutSeconds": 30,
        "failureThreshold": 2,
        # It does nothing any more, so there is nothing that it could finish.
        "terminationGracePeriodSeconds": 5,
    }
    return main | {"env": [*main["env"], {"name": "SKYMAP_ALIVE", "value": ALIVE}], "livenessProbe": probe}


def _pull_secrets(recipe: Recipe) -> list[str]:
    """Return the Secrets for the registry: all pods have one image, so those given for the workers are for all."""
    template = recipe.spec.workers.pod_template
    given = () if template is None else template.image_pull_secrets or ()
    return list(dict.fromkeys([*recipe.settings.image_pull_secrets, *(one.name for one in given)]))
