"""What the pods of all roles have in common: the `restricted` pod security level and access to Pulsar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skymap_api.names import SCAN_NAME_ANNOTATION, TopicBases
from skymap_api.resource.base import Manifest, to_manifest
from skymap_api.resource.resources import Resources
from skymap_operator.manifests.additions import add, additions
from skymap_operator.manifests.labels import labels
from skymap_operator.manifests.recipe import Recipe

TOKEN, TLS = "/pulsar/token", "/pulsar/tls"
#: Keys of the TLS Secret, and the options that take their files.
_CERTIFICATES = (("ca.crt", "--tls-trust-certs"), ("tls.crt", "--tls-certificate"), ("tls.key", "--tls-key"))

#: The file that a running role touches (`skymap_scanner.roles.liveness`), and the longest time between two touches (s).
ALIVE = "/tmp/alive"  # noqa: S108 - a volume of this pod alone
LIVENESS_TIMEOUT = 60

#: Most that a pod may write to each of its empty volumes. The roles write a few megabytes: a simulated event, and what
#: libraries cache. The rest is for reconstructions of others.
SCRATCH_LIMIT = "1Gi"

#: How long a pod stays on an unreachable node (30 s). The default is five minutes, in which a lost worker counts as
#: running. Its task in flight is fitted again by another worker.
LOST_NODE = tuple(
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    for taint in ("not-ready", "unreachable")
)

#: Keys of the ConfigMap that the pods read.
BROKER_KEY, ADMIN_KEY, SCAN_KEY = "broker", "admin-url", "scan.yaml"


@dataclass(frozen=True)
class Volume:
    """A volume and its mount path."""

    name: str
    source: Manifest
    path: str
    read_only: bool = False

    def volume(self) -> Manifest:
        """Return the entry for the pod."""
        return {"name": self.name, **self.source}

    def mount(self) -> Manifest:
        """Return the entry for a container."""
        return {"name": self.name, "mountPath": self.path} | ({"readOnly": True} if self.read_only else {})


def scratch(name: str, path: str) -> Volume:
    """Return an empty volume of at most `SCRATCH_LIMIT`.

    It lives as long as the pod and survives restarts of the containers. The kubelet evicts a pod that exceeds it.
    """
    return Volume(name, {"emptyDir": {"sizeLimit": SCRATCH_LIMIT}}, path)


def secret(name: str, secret_name: str, path: str, key: str | None = None) -> Volume:
    """Return a Secret as files, or only its ``key`` as the file ``token``. The pod waits until it exists."""
    source: Manifest = {"secretName": secret_name}
    if key is not None:
        source["items"] = [{"key": key, "path": "token"}]
    return Volume(name, {"secret": source}, path, read_only=True)


def access_volumes(recipe: Recipe, role: str) -> list[Volume]:
    """Return the Secrets for Pulsar as files; of the tokens that the operator signs, that of the role alone."""
    pulsar = recipe.pulsar
    token = [] if pulsar.token is None else [secret("pulsar-token", pulsar.token.name, TOKEN)]
    if pulsar.signed:
        token = [secret("pulsar-token", recipe.token_secret, TOKEN, role)]
    return token + ([] if pulsar.tls_secret is None else [secret("pulsar-tls", pulsar.tls_secret, TLS)])


def access_arguments(recipe: Recipe) -> list[str]:
    """Return the options that take those files."""
    pulsar = recipe.pulsar
    token = [] if pulsar.token is None else ["--auth-token", f"{TOKEN}/{pulsar.token.key}"]
    if pulsar.signed:
        token = ["--auth-token", f"{TOKEN}/token"]
    if pulsar.tls_secret is None:
        return token
    named = [[option, f"{TLS}/{key}"] for key, option in _CERTIFICATES if key in recipe.tls_keys]
    return [*token, *(word for words in named for word in words)]


def scan_arguments(recipe: Recipe, **options: str) -> list[str]:
    """Return the options for the scan's name, its access to Pulsar, and the base names of topics."""
    bases = TopicBases.of(recipe.pulsar.tenant, recipe.namespace)
    topics = [word for kind, option in options.items() for word in (option, getattr(bases, kind))]
    return ["-n", recipe.names.scan, *access_arguments(recipe), *topics]


def container(
    recipe: Recipe,
    name: str,
    arguments: Sequence[str],
    volumes: Sequence[Volume],
    resources: Resources,
    environment: Sequence[Manifest] = (),
) -> Manifest:
    """Return a container that runs a command of the scanner. The image's entry point is ``skymap-scanner``.

    The command gets ``arguments`` and the values of ``environment`` as they are.
    """
    variables = [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of this pod alone
        _from_config("SKYMAP_BROKER", recipe, BROKER_KEY),
        _from_config("SKYMAP_ADMIN_URL", recipe, ADMIN_KEY),
        *environment,
    ]
    return {
        "name": name,
        "image": recipe.image,
        "imagePullPolicy": recipe.settings.image_pull_policy,
        "args": [_literal(word) for word in arguments],
        "env": [one | {"value": _literal(one["value"])} if "value" in one else one for one in variables],
        "resources": to_manifest(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        # Kubernetes keeps the last lines of the log in the pod's status; the operator explains a failure with them.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [volume.mount() for volume in volumes],
    }


def _literal(text: str) -> str:
    """Return a text that the kubelet expands to ``text``.

    In arguments and values of variables it replaces $(NAME) by the variable's value, which may be that of a Secret,
    and $$ by $ (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables).
    """
    return text.replace("$", "$$")


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
    liveness_timeout: int = LIVENESS_TIMEOUT,
) -> Manifest:
    """Return a pod template at the `restricted` level, with the additions of site and user.

    The containers ``first`` run before ``main``.

    ``liveness_timeout``: time (s) without a sign of life after which the container is restarted.
    """
    spec = {
        "automountServiceAccountToken": False,
        "containers": [recipe.keep_command(_with_probe(main, liveness_timeout))],
        "enableServiceLinks": False,
        "restartPolicy": restart,
        "securityContext": {
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A container's first process ignores SIGTERM until it installs a handler. Without this a worker that is
        # terminated while it starts would run for its whole grace period.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": grace,
        "tolerations": list(LOST_NODE),
        "volumes": [volume.volume() for volume in volumes],
    }
    if first:
        spec["initContainers"] = [recipe.keep_command(one) for one in first]
    meta = {"labels": labels(recipe, role), "annotations": {SCAN_NAME_ANNOTATION: recipe.name}}
    return add({"metadata": meta, "spec": spec}, additions(recipe, role))


def _with_probe(main: Manifest, liveness_timeout: int) -> Manifest:
    """Return the container with a liveness probe that detects a process that hangs.

    A process that has never created the file, as in an older image, passes.
    """
    fresh = f'test ! -e {ALIVE} || test -n "$(find {ALIVE} -mmin -{math.ceil(liveness_timeout / 60)})"'
    probe = {
        "exec": {"command": ["sh", "-c", fresh]},
        # On a busy node even a shell takes long to start; that must not end a fit.
        "periodSeconds": 30,
        "timeoutSeconds": 30,
        "failureThreshold": 2,
        # A process that hangs cannot finish anything.
        "terminationGracePeriodSeconds": 5,
    }
    return main | {"env": [*main["env"], {"name": "SKYMAP_ALIVE", "value": ALIVE}], "livenessProbe": probe}
