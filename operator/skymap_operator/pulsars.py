"""The way to the Pulsar of each scan: the operator's own, or one that the scan names, with the scan's token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from skymap_operator.cluster import Cluster
from skymap_operator.manifests import PulsarAccess
from skymap_operator.pulsar_admin import PulsarAdmin, PulsarAdminError
from skymap_operator.settings import Settings

#: Key of a TLS Secret with the certificates to trust.
TRUSTED_KEY = "ca.crt"


class Pulsars:
    """Opens admin interfaces. The operator's own stays open, with the operator's token; others are for one look."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._own: dict[str, PulsarAdmin] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for admin in self._own.values():
            await admin.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def reach(self, namespace: str, access: PulsarAccess) -> AsyncIterator[PulsarAdmin]:
        """Open the admin interface that a scan in ``namespace`` uses.

        Raises
        ------
        PulsarAdminError
            If its token or its certificates are missing or of no use.
        """
        if access.own:
            if access.admin_url not in self._own:
                token, trusted = self._settings.pulsar_token_file, self._settings.pulsar_trusted_file
                self._own[access.admin_url] = PulsarAdmin(access.admin_url, _given(token), _given(trusted))
            yield self._own[access.admin_url]
            return
        with tempfile.TemporaryDirectory(prefix="skymap-operator-") as folder:  # mode 700
            token_file = trusted_file = None
            if access.token is not None:
                token_file = Path(folder) / "token"
                await self._store(namespace, access.token.name, access.token.key, token_file)
            if access.tls_secret is not None and await self._has(namespace, access.tls_secret, TRUSTED_KEY):
                trusted_file = Path(folder) / TRUSTED_KEY
                await self._store(namespace, access.tls_secret, TRUSTED_KEY, trusted_file)
            async with PulsarAdmin(access.admin_url, token_file, trusted_file) as admin:
                yield admin

    async def _has(self, namespace: str, name: str, key: str) -> bool:
        return key in ((await self._cluster.get("Secret", namespace, name)) or {}).get("data", {})

    async def _store(self, namespace: str, name: str, key: str, path: Path) -> None:
        """Write a key of a Secret into a file."""
        secret = await self._cluster.get("Secret", namespace, name)
        if secret is None:
            raise PulsarAdminError(f"there is no Secret {name}, which has what Pulsar asks for: make it")
        try:
            content = base64.b64decode(secret.get("data", {})[key], validate=True)
        except (KeyError, binascii.Error) as error:
            raise PulsarAdminError(f"the Secret {name} has no key {key}, which Pulsar asks for: add it") from error
        await asyncio.to_thread(path.write_bytes, content)


def _given(path: str | None) -> Path | None:
    return None if path is None else Path(path)
