"""Connections to the Pulsar of each scan: the operator's, or one that the scan names, with the scan's token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from cachetools import TTLCache

from skymap_api.addresses import Addresses
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, Refused
from skymap_operator.pulsar.access import PulsarAccess, endpoint, refusal
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.bounded_http import FOREIGN
from skymap_operator.pulsar.breaker import LONGEST_PAUSE, Breaker
from skymap_operator.pulsar.credentials import Credentials, Signer
from skymap_operator.pulsar.messages import MessageReader
from skymap_operator.settings import Settings

#: Longest time (s) with a Pulsar that a scan names, for all requests that observe it or that apply one action.
LONGEST_VISIT = 20.0

#: Most endpoints whose failures are kept.
MAX_BREAKERS = 4096

#: Keys of a TLS Secret: certificates to trust, our own certificate and its key.
TRUSTED_KEY, CERTIFICATE_KEY, KEY_KEY = "ca.crt", "tls.crt", "tls.key"


class Pulsars:
    """Opens admin interfaces. The operator's stays open; that of a scan is open for one reconcile."""

    def __init__(
        self, cluster: Cluster, settings: Settings, on_request: Callable[[str, int | None], None] = lambda *_: None
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._on_request = on_request
        self._own: dict[str, PulsarAdmin] = {}
        #: By endpoint, those that did not answer lately.
        self._breakers: TTLCache[str, Breaker] = TTLCache(MAX_BREAKERS, 4 * LONGEST_PAUSE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for admin in self._own.values():
            await admin.__aexit__()

    @asynccontextmanager
    async def reach(self, namespace: str, access: PulsarAccess) -> AsyncIterator[PulsarAdmin]:
        """Open the admin interface that a scan in ``namespace`` uses.

        Raises PulsarAdminError if the administrator does not allow it, or its token or certificates are missing or
        invalid; PulsarUnavailable if it takes too long, or did not answer a short while ago.
        """
        if access.refused:
            raise PulsarAdminError(refusal(access.refused))
        if access.own:
            if access.admin_url not in self._own:
                credentials = _own_credentials(self._settings, self._cluster.now)
                messages = MessageReader(access.service_url, credentials)
                self._own[access.admin_url] = PulsarAdmin(
                    access.admin_url, credentials, self._on_request, trusted=True, messages=messages
                )
            yield self._own[access.admin_url]
            return
        async with self._attempt(access.admin_url):
            with tempfile.TemporaryDirectory(prefix="skymap-operator-") as folder:  # mode 700
                credentials = await self._stored(namespace, access, Path(folder))
                allowed = Addresses.parse(" ".join(access.addresses))
                messages = MessageReader(access.service_url, credentials, allowed)
                async with PulsarAdmin(
                    access.admin_url, credentials, self._on_request, allowed=allowed, limits=FOREIGN, messages=messages
                ) as admin:
                    yield admin

    @asynccontextmanager
    async def _attempt(self, admin_url: str) -> AsyncIterator[None]:
        """Limit the time with a Pulsar that a scan names, and leave it alone for a while after it did not answer.

        Raises PulsarUnavailable.
        """
        place, now = endpoint(admin_url), asyncio.get_running_loop().time
        breaker = self._breakers.get(place, Breaker())
        if not breaker.allows(now()):
            raise PulsarUnavailable(
                f"{admin_url} did not answer: it is asked again after a pause of up to {LONGEST_PAUSE:g} s"
            )
        self._breakers[place] = breaker.tried(now())
        try:
            async with asyncio.timeout(LONGEST_VISIT) as limit:
                yield
        except (PulsarUnavailable, TimeoutError) as error:
            self._breakers[place] = self._breakers.get(place, breaker).failed(now())
            if isinstance(error, TimeoutError) and limit.expired():
                raise PulsarUnavailable(f"{admin_url} takes more than {LONGEST_VISIT:g} s") from error
            raise
        except BaseException:  # not about the server, such as a missing Secret
            self._breakers[place] = breaker
            raise
        else:
            self._breakers.pop(place, None)

    async def _stored(self, namespace: str, access: PulsarAccess, folder: Path) -> Credentials:
        """Write the content of the scan's Secrets into files."""
        token = None
        if access.token is not None:
            secret = await self._secret(namespace, access.token.name)
            token = await _written(secret, access.token.key, folder / "token")
        if access.tls_secret is None:
            return Credentials(token)
        secret = await self._secret(namespace, access.tls_secret)
        found = {
            key: await _written(secret, key, folder / key)
            for key in (TRUSTED_KEY, CERTIFICATE_KEY, KEY_KEY)
            if key in (secret.get("data") or {})
        }
        return Credentials(token, found.get(TRUSTED_KEY), found.get(CERTIFICATE_KEY), found.get(KEY_KEY))

    async def _secret(self, namespace: str, name: str) -> Manifest:
        try:
            secret = await self._cluster.get("Secret", namespace, name)
        except Refused as error:
            allowed = "use a name that the chart's rbac.secretNames lists"
            raise PulsarAdminError(f"the operator may not read the Secret {name}: {allowed}") from error
        if secret is None:
            raise PulsarAdminError(f"the Secret {name} with credentials for Pulsar does not exist: create it")
        return secret


async def _written(secret: Manifest, key: str, path: Path) -> Path:
    """Write a key of a Secret into a file."""
    try:
        content = base64.b64decode((secret.get("data") or {})[key], validate=True)
    except (KeyError, binascii.Error) as error:
        name = secret["metadata"]["name"]
        raise PulsarAdminError(f"the Secret {name} lacks the key {key} with credentials for Pulsar: add it") from error
    await asyncio.to_thread(path.write_bytes, content)
    return path


def _own_credentials(settings: Settings, now: Callable[[], datetime]) -> Credentials:
    def path(file: str | None) -> Path | None:
        return None if file is None else Path(file)

    key = path(settings.pulsar_signing_key_file)
    return Credentials(
        token=path(settings.pulsar_token_file),
        trusted=path(settings.pulsar_trusted_file),
        certificate=path(settings.pulsar_certificate_file),
        key=path(settings.pulsar_key_file),
        signer=None if key is None else Signer(key, settings.pulsar_operator_role, now),
    )
