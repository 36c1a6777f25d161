"""What an administrator sets for all scans, read from environment variables by one function; no other I/O."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from skymap_api.resource.base import DataKey, ObjectName, Quantity, Word
from skymap_api.resource.workers import Resources

PREFIX = "SKYMAP_OPERATOR_"

Seconds = Annotated[float, Field(gt=0, le=86400)]


def _addresses(word: str) -> str:
    if word not in ("any", "public"):
        ipaddress.ip_network(word.removeprefix("!"))
    return word


#: ``any``, ``public``, a network such as ``10.1.0.0/16``, or ``!`` and a network that is not meant.
AddressWord = Annotated[str, AfterValidator(_addresses)]


class SettingsError(Exception):
    """A variable cannot be used; the message names it."""


class Settings(BaseModel):
    """Operator-wide settings; FIELD is the environment variable SKYMAP_OPERATOR_FIELD (lists and objects: JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image: Annotated[str, Field(min_length=1)]
    """Image of the scanner, for all pods of new scans; a scan keeps the one that it began with."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes fetch the image."""
    image_pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets in the scans' namespaces for the registry of the image."""
    pulsar_service_url: str
    """Address of the broker, where a scan names none: pulsar://HOST:6650 or pulsar+ssl://HOST:6651."""
    pulsar_admin_url: str
    """Address of the admin interface, where a scan names none."""
    pulsar_tenant: Word = "icecube"
    """Tenant of the scans' topics, where a scan names none. Two clusters on one Pulsar need two tenants."""
    pulsar_token_secret: ObjectName | None = None
    """Secret in the scans' namespaces with the pods' token for Pulsar."""
    pulsar_token_key: DataKey = "token"  # noqa: S105 - the name of a key
    """Key of that Secret that holds the token."""
    pulsar_tls_secret: ObjectName | None = None
    """Secret in the scans' namespaces with the pods' certificates for Pulsar."""
    pulsar_token_file: str | None = None
    """File with the operator's own token, for the admin interface above and no other."""
    pulsar_trusted_file: str | None = None
    """File with the certificates (PEM) that the operator trusts for the admin interface above."""
    pulsar_certificate_file: str | None = None
    """File with the operator's own certificate (PEM), where that interface asks for one."""
    pulsar_key_file: str | None = None
    """File with the key (PEM) of that certificate."""
    pulsar_role: Annotated[str, Field(min_length=1)] | None = None
    """Role of the pods' token: the operator lets it produce and consume in the namespaces that it makes."""
    claim_size: Quantity = "2Gi"
    """Size of a claim for results, where a scan names none."""
    claim_storage_class: ObjectName | None = None
    """Storage class of such a claim; none: the cluster's default."""
    namespaces: tuple[ObjectName, ...] = ()
    """Namespaces whose scans are looked after; none: all."""
    max_workers: Annotated[int, Field(ge=1)] = 1000
    """Most workers of all scans together."""
    realtime_priority_class: ObjectName | None = None
    """PriorityClass of the pods of scans with priority Realtime, so that on a full cluster they get places first."""
    worker_resources: Resources = Resources(requests={"cpu": "1", "memory": "1Gi"}, limits={"memory": "2Gi"})
    """What a worker asks for and may use, where a scan says nothing."""
    role_resources: Resources = Resources(requests={"cpu": "100m", "memory": "512Mi"}, limits={"memory": "2Gi"})
    """What producer, collector and saver each ask for and may use."""
    user_id: Annotated[int, Field(ge=1, lt=2**31)] = 1000
    """User and group that the pods run as; the results belong to them."""
    event_addresses: Annotated[tuple[AddressWord, ...], Field(min_length=1)] = ("public",)
    """Addresses that events may be fetched from: public, any, networks (10.1.0.0/16), not a network (!10.1.2.0/24)."""
    seconds_per_task: Seconds = 1.0
    """How long a fit takes (s), until a scan's own are known."""
    startup_seconds: Annotated[float, Field(ge=0, le=86400)] = 20.0
    """From a worker that is wanted to its first fit (s)."""
    first_workers: Annotated[int, Field(ge=1)] = 8
    """Most workers to start with; from there on twice as many at each look."""
    settle_seconds: Seconds = 60.0
    """How long after the end of a Job (s) Pulsar must show what it did; the Job is run again if that is lost."""
    grace_seconds: Annotated[int, Field(ge=0)] = 5
    """How long workers may still run (s) when their scan is deleted or has failed: nobody needs their fits."""
    scaling_interval: Seconds = 10.0
    """How often the queue of a running scan is looked at (s)."""
    retry_interval: Seconds = 5.0
    """How soon a scan is looked at again (s) that waits for something to come or to go."""
    resync_interval: Seconds = 300.0
    """How often a finished or suspended scan is looked at (s), though nothing was heard of it."""

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.pulsar_key_file is not None and self.pulsar_certificate_file is None:
            raise ValueError(f"{PREFIX}PULSAR_KEY_FILE is of use beside {PREFIX}PULSAR_CERTIFICATE_FILE alone")
        return self


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from variables such as SKYMAP_OPERATOR_IMAGE; an empty one counts as not set.

    Raises
    ------
    SettingsError
        If one is missing, unknown, or cannot be used; names all of them.
    """
    given = {
        name.removeprefix(PREFIX).lower(): _value(text)
        for name, text in environment.items()
        if name.startswith(PREFIX) and text
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(
            "".join(f"{PREFIX}{str(field).upper()}: " for field in fault["loc"][:1])
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        )
        raise SettingsError(faults) from error


def _value(text: str) -> Any:
    """Take a list or an object as JSON; the rest is text, of which pydantic makes numbers."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
