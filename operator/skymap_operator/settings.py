"""The operator's settings, which an administrator gives in environment variables."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from skymap_api.resource.base import DataKey, Model, NamespaceName, ObjectName, Word
from skymap_api.resource.pods import PodTemplate, SecurityContext
from skymap_api.resource.quantities import Quantity
from skymap_api.resource.resources import Resources
from skymap_api.resource.spec import ADMIN_URL, PULSAR_URL

PREFIX = "SKYMAP_OPERATOR_"

Seconds = Annotated[float, Field(gt=0, le=86400)]


def _includes(all_of_them: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Return a validator that rejects a list of exclusions, which would allow nothing."""

    def check(words: tuple[str, ...]) -> tuple[str, ...]:
        if words and all(word.startswith("!") for word in words):
            raise ValueError(f"only exclusions allow nothing: write {json.dumps([all_of_them, *words])}")
        return words

    return check


def _addresses(word: str) -> str:
    if word not in ("any", "public"):
        ipaddress.ip_network(word.removeprefix("!"))
    return word


#: ``any``, ``public``, a network such as ``10.1.0.0/16``, or ``!`` and a network to exclude.
AddressWord = Annotated[str, AfterValidator(_addresses)]


#: Addresses that are allowed, and no exclusion.
AddressWords = Annotated[tuple[AddressWord, ...], Field(min_length=1), AfterValidator(_includes("public"))]


#: A name or key in which * stands for anything, or ``!`` and one to exclude.
NamePattern = Annotated[str, Field(max_length=256, pattern=r"^!?[-A-Za-z0-9_./*]+$")]


#: Names that are allowed: those that a pattern matches, and no exclusion.
NamePatterns = Annotated[tuple[NamePattern, ...], AfterValidator(_includes("*"))]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a pattern matches the name and no exclusion does; without a name, whether any name would."""
    excluded = [one.removeprefix("!") for one in patterns if one.startswith("!")]
    if not name:
        return "*" in patterns and not excluded
    included = [one for one in patterns if not one.startswith("!")]
    return any(fnmatchcase(name, one) for one in included) and not any(fnmatchcase(name, one) for one in excluded)


def _range(text: str) -> str:
    first, _, last = text.partition("-")
    if last and int(last) < int(first):
        raise ValueError(f"{text}: a range begins with its lowest id")
    return text


#: An id of a user or group such as ``1000``, or a range such as ``1000-1999``.
IdRange = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(pattern=r"^[0-9]{1,10}(-[0-9]{1,10})?$"),
    AfterValidator(_range),
]


#: Namespace and name of an operator's Deployment, and the most characters of the two.
OPERATOR_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
MAX_NAME = 320
OperatorName = Annotated[str, Field(max_length=MAX_NAME, pattern=OPERATOR_NAME)]


class AllowedInPods(Model):
    """What scans may add to their pods."""

    labels: NamePatterns = ()
    """Keys of labels: many of them add containers and volumes to a pod, or change its network or its identity."""
    annotations: NamePatterns = ()
    """Keys of annotations: many of them give rights to a pod, or change its network."""
    node_selector: NamePatterns = ("*",)
    """Keys of nodes' labels."""
    tolerations: NamePatterns = ("*",)
    """Keys of taints. A toleration of every taint needs * without exclusions."""
    affinity: bool = True
    """Whether affinity may be set."""
    priority_class_name: NamePatterns = ()
    """Names of PriorityClasses."""
    service_account_name: NamePatterns = ()
    """Names of ServiceAccounts."""
    image_pull_secrets: NamePatterns = ("*",)
    """Names of pull secrets."""
    user_ids: tuple[IdRange, ...] = ()
    """User ids."""
    group_ids: tuple[IdRange, ...] = ()
    """Group ids."""


class AllowedPulsar(Model):
    """What scans may name in spec.pulsar. Without URLs, it is about the operator's own Pulsar."""

    service_url: Annotated[str, Field(max_length=2048, pattern=PULSAR_URL)] | None = None
    """URL of the broker, exactly as scans write it."""
    admin_url: Annotated[str, Field(max_length=2048, pattern=ADMIN_URL)] | None = None
    """URL of the admin interface, exactly as scans write it."""
    tenants: NamePatterns = ()
    """Tenants, beside PULSAR_TENANT."""
    secrets: NamePatterns = ()
    """Names of Secrets with a token or certificates."""
    namespaces: NamePatterns = ("*",)
    """Namespaces whose scans may do so."""
    addresses: AddressWords = ("public",)
    """Addresses of these hosts, as in EVENT_ADDRESSES: the operator connects to no other."""

    @model_validator(mode="after")
    def _urls_go_together(self) -> Self:
        if (self.service_url is None) != (self.admin_url is None):
            raise ValueError("serviceUrl and adminUrl go together: set both, or none for the operator's own Pulsar")
        return self


#: Where notices may go: as with ``--notify`` of the scanner, whose tests compare the two.
NOTICE = r"^((webhook|cloudevents)(=https://[^ /?#@]+(/[^ ?#@]*)?)?|slack|gcn(=gcn\.notices(\.[a-z0-9_]{1,60}){1,6})?)$"


def _has_port(to: str) -> str:
    """Check the port of a URL, for which the chart opens the network."""
    _, _, url = to.partition("=https:")
    try:
        port = urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"{to} has an impossible host or port") from error
    if port == 0:
        raise ValueError(f"{to} has an impossible host or port")
    return to


class NoticeDestination(Model):
    """A destination of notices, for scans that name it in spec.notices.to."""

    name: Word
    """Its name."""
    to: Annotated[str, Field(max_length=1024, pattern=NOTICE), AfterValidator(_has_port)]
    """What `--notify` takes: webhook=URL, cloudevents=URL, slack, gcn or gcn=TOPIC; webhook or cloudevents alone if
    NOTICES_SECRET holds the URL."""
    namespaces: NamePatterns = ()
    """Namespaces whose scans may name it. An empty list allows it nowhere."""
    gcn_domain: Literal["gcn.nasa.gov", "test.gcn.nasa.gov", "dev.gcn.nasa.gov"] = "gcn.nasa.gov"
    """Which of GCN's Kafkas gets it."""
    trusted_key: DataKey | None = None
    """Key in NOTICES_SECRET of CA certificates (PEM) that the saver of a scan that names it trusts for all URLs of its
    notices, beside the public ones. A scan that names destinations with two such keys is refused."""

    @property
    def kind(self) -> str:
        """What stands before the address: ``webhook``, ``cloudevents``, ``slack`` or ``gcn``."""
        return self.to.partition("=")[0]


def _names_differ(listed: tuple[NoticeDestination, ...]) -> tuple[NoticeDestination, ...]:
    names = [one.name for one in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} is the name of two destinations")
    return listed


class SettingsError(Exception):
    """A variable is missing, unknown or invalid; the message names it."""


class Settings(BaseModel):
    """Settings for all scans. Field ``name`` is the variable SKYMAP_OPERATOR_NAME; lists and objects are JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """Image of the scanner for the pods of new scans. A scan keeps the image that it started with."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes pull the image."""
    pulsar_service_url: Annotated[str, Field(max_length=2048)]
    """URL of the Pulsar broker for scans that name none: pulsar://HOST:6650 or pulsar+ssl://HOST:6651."""
    pulsar_admin_url: Annotated[str, Field(max_length=2048)]
    """URL of the Pulsar admin interface for scans that name none: http://HOST:8080 or https://HOST:8443, with further
    brokers after commas."""
    pulsar_tenant: Word = "icecube"
    """Pulsar tenant of scans that name none. Two clusters that share a Pulsar need two tenants."""
    pulsar_token_secret: ObjectName | None = None
    """Secret with the pods' token for Pulsar, in the scans' namespaces."""
    pulsar_token_key: DataKey = "token"  # noqa: S105 - the name of a key
    """Key of the token in that Secret."""
    pulsar_tls_secret: ObjectName | None = None
    """Secret with the pods' certificates for Pulsar, in the scans' namespaces."""
    pulsar_token_file: str | None = None
    """File with the operator's own token. It is sent only to PULSAR_ADMIN_URL and PULSAR_SERVICE_URL."""
    pulsar_trusted_file: str | None = None
    """File with the CA certificates (PEM) that the operator trusts for both URLs."""
    pulsar_certificate_file: str | None = None
    """File with the operator's client certificate (PEM) for both URLs."""
    pulsar_key_file: str | None = None
    """File with the private key (PEM) of that certificate."""
    pulsar_role: Annotated[str, Field(min_length=1)] | None = None
    """Role of the pods' token. The operator grants it produce and consume in the Pulsar namespaces that it creates."""
    pulsar_page_role: Annotated[str, Field(min_length=1)] | None = None
    """Role of the page's token, and of nothing else. The operator grants it consume in the Pulsar namespaces that it
    creates."""
    pulsar_signing_key_file: str | None = None
    """File with the secret key of Pulsar's tokens (tokenSecretKey). With it, each role of each scan has a token of its
    own, which the operator signs and renews, instead of that in PULSAR_TOKEN_SECRET."""
    pulsar_token_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """Lifetime of such a token (s). It is renewed after a third of it."""
    pulsar_operator_role: Annotated[str, Field(min_length=1)] = "skymap-operator"
    """Role for which the operator signs its own token with that key, if there is no PULSAR_TOKEN_FILE."""
    claim_size: Quantity = "2Gi"
    """Size of new claims for results, for scans that name none."""
    claim_storage_class: ObjectName | None = None
    """Storage class of new claims. Without it: the default of the cluster."""
    namespaces: tuple[NamespaceName, ...] = ()
    """Namespaces whose scans are reconciled. Without it: all namespaces."""
    name: OperatorName | None = None
    """Name of this operator, NAMESPACE/NAME of its Deployment, by which it holds a Lease in every namespace. Of several
    operators that watch a namespace, one reconciles its scans, and the others stand by. Without it: no Leases."""
    max_workers: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of workers of all scans together."""
    realtime_priority_class: ObjectName | None = None
    """PriorityClass for the pods of realtime scans, so that a full cluster schedules them first."""
    realtime_namespaces: NamePatterns = ()
    """Namespaces whose scans may have the priority Realtime: they get workers before others, and that PriorityClass. In
    a name, * stands for anything, and an exclamation mark excludes. An empty list allows it nowhere."""
    worker_resources: Resources = Resources(requests={"cpu": "1", "memory": "1Gi"}, limits={"memory": "2Gi"})
    """Resource requests and limits of a worker, for scans that set none."""
    role_resources: Resources = Resources(requests={"cpu": "100m", "memory": "512Mi"}, limits={"memory": "2Gi"})
    """Resource requests and limits of the producer, the collector and the saver, each."""
    role_memory_max: Quantity = "8Gi"
    """Memory limit up to which a role that was ended for its use of memory gets twice as much. 0: never."""
    pod_template: PodTemplate = PodTemplate(
        security_context=SecurityContext(run_as_user=1000, run_as_group=1000, fs_group=1000)
    )
    """Additions to the pods of all scans, as in spec.podTemplate. Without securityContext the cluster assigns user and
    groups, as OpenShift does."""
    namespace_pod_templates: dict[NamespaceName, PodTemplate] = Field(default={})
    """Additions to the pods of the scans of a namespace, by its name, over those of POD_TEMPLATE."""
    allowed_in_pods: AllowedInPods = AllowedInPods()
    """What scans may add to their pods in podTemplate and workers.podTemplate. In a name, * stands for anything, and an
    exclamation mark excludes; ids are numbers or ranges such as 1000-1999. An empty list allows nothing.
    Exclusions need a name that they exclude from: ["*", "!example.org/*"]."""
    allowed_pulsars: tuple[AllowedPulsar, ...] = ()
    """What scans may name in spec.pulsar: another Pulsar, another tenant, Secrets. By default nothing."""
    event_addresses: AddressWords = ("public",)
    """Addresses from which events may be downloaded: public, any, networks (10.1.0.0/16), exclusions (!10.1.2.0/24)."""
    notices: Annotated[tuple[NoticeDestination, ...], AfterValidator(_names_differ)] = ()
    """Where notices of scans may go. By default nowhere."""
    notices_secret: ObjectName = "skymap-notices"  # noqa: S105 - the name of a Secret
    """Secret with what notices need, in each of their namespaces. Whoever may create pods there can read it."""
    metrics_of_scans: bool = False
    """Whether /metrics shows figures of each scan by its name. Whoever can reach the port can read them."""
    seconds_per_task: Seconds = 1.0
    """Assumed time of a fit (s) until a scan has measured its own."""
    startup_seconds: Annotated[float, Field(ge=0, le=86400)] = 20.0
    """Assumed time (s) from the creation of a worker to its first fit."""
    first_workers: Annotated[int, Field(ge=1)] = 8
    """Maximum number of workers in the first step; each later step at most doubles it."""
    settle_seconds: Seconds = 60.0
    """Time (s) after the end of a Job until its work is checked. If Pulsar has lost the work, the Job runs again."""
    grace_seconds: Annotated[int, Field(ge=0)] = 5
    """Grace period (s) of the workers of a scan that was deleted or has ended. Nobody needs their fits."""
    scaling_interval: Seconds = 10.0
    """Interval (s) at which a running scan is reconciled and scaled."""
    retry_interval: Seconds = 5.0
    """Interval (s) at which a scan that is obstructed or has just changed is reconciled."""
    resync_interval: Seconds = 300.0
    """Interval (s) at which a finished or suspended scan is reconciled without an event."""

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> Self:
        if self.pulsar_key_file is not None and self.pulsar_certificate_file is None:
            raise ValueError(f"{PREFIX}PULSAR_KEY_FILE needs {PREFIX}PULSAR_CERTIFICATE_FILE")
        return self

    @model_validator(mode="after")
    def _one_kind_of_token(self) -> Self:
        """With a key the pods have tokens of their own. A setting that then does nothing is a mistake."""
        given = {"PULSAR_TOKEN_SECRET": self.pulsar_token_secret, "PULSAR_ROLE": self.pulsar_role}
        useless = [f"{PREFIX}{name}" for name, value in given.items() if value is not None]
        if self.pulsar_signing_key_file is not None and useless:
            key = f"{PREFIX}PULSAR_SIGNING_KEY_FILE"
            raise ValueError(f"{key} gives each role a token of its own: leave out {' and '.join(useless)}")
        return self

    @model_validator(mode="after")
    def _page_has_a_role_of_its_own(self) -> Self:
        """With another's role the page would get its rights, or that role only those of the page."""
        others = {"PULSAR_ROLE": self.pulsar_role, "PULSAR_OPERATOR_ROLE": self.pulsar_operator_role}
        for name, role in others.items():
            if role is not None and role == self.pulsar_page_role:
                raise ValueError(f"{PREFIX}PULSAR_PAGE_ROLE and {PREFIX}{name} must differ: both are {role}")
        return self


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from the environment; an empty variable counts as not set.

    Raises SettingsError if variables are missing, unknown or invalid; the message names all of them.
    """
    given = {
        name.removeprefix(PREFIX).lower(): _value(text)
        for name, text in environment.items()
        if name.startswith(PREFIX) and text
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        faults = (_place(fault["loc"]) + fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise SettingsError("; ".join(faults)) from error


def _place(location: tuple[int | str, ...]) -> str:
    """Name the variable, and the field inside its value if it has fields."""
    variable = "".join(f"{PREFIX}{part.upper()}: " for part in map(str, location[:1]))
    if not any(isinstance(part, str) for part in location[1:]):
        return variable
    return f"{variable}{'.'.join(map(str, location[1:]))}: "


def _value(text: str) -> Any:
    """Parse a list or an object from JSON; pydantic converts the rest."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
