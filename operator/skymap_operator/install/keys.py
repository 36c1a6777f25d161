"""The keys of the chart's own Pulsar: made once, inside the cluster, and kept in a Secret of the release.

Helm makes the Secret without content and never sees a key, so that none is in a release's record, in the output of
`helm template` or in a diff. For the same reason an upgrade and a rollback keep the content.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from skymap_operator.cluster.client import Cluster, ClusterError, Conflict
from skymap_operator.pulsar.tokens import SHORTEST_KEY, sign

#: Keys of the Secret: Pulsar's secret key, the token with which the broker is a client of itself, and that of the page.
KEY, BROKER_TOKEN, PAGE_TOKEN = "key", "broker-token", "page-token"

#: Attempts to write a Secret that others change, too.
ATTEMPTS = 5


def complete(data: Mapping[str, str], role: str, page_role: str | None, new_key: bytes) -> dict[str, str]:
    """Return the data of the Secret (base64) with what is missing; ``new_key`` is used only if it has no key.

    The tokens are for the ``role`` of the broker and, if there is a page, for its ``page_role``. They do not expire, as
    the broker's configuration is read once, and nobody renews the other. Raises ClusterError if the key that is there
    cannot be one.
    """
    try:
        key = base64.b64decode(data.get(KEY, ""), validate=True) or new_key
    except binascii.Error:
        key = b""
    if len(key) < SHORTEST_KEY:
        raise ClusterError(f"the Secret's {KEY} has fewer than {SHORTEST_KEY} bytes: remove it, and another is made")
    tokens = {BROKER_TOKEN: sign(key, role)} | ({} if page_role is None else {PAGE_TOKEN: sign(key, page_role)})
    made = {name: base64.b64encode(token.encode()).decode() for name, token in tokens.items()}
    kept = {name: value for name, value in data.items() if name != PAGE_TOKEN}
    return {**kept, KEY: base64.b64encode(key).decode(), **made}


async def make_keys(cluster: Cluster, namespace: str, name: str, role: str, page_role: str | None = None) -> str:
    """Make what is missing in the Secret and return a sentence on what was done.

    Raises ClusterError if the Secret does not exist, or its key cannot be one.
    """
    for _ in range(ATTEMPTS):
        secret = await cluster.get("Secret", namespace, name)
        if secret is None:
            raise ClusterError(f"the Secret {name} does not exist: it is part of the release, so upgrade that")
        data = secret.get("data") or {}
        wanted = complete(data, role, page_role, secrets.token_bytes(SHORTEST_KEY))
        if wanted == data:
            return f"the Secret {name} has its keys"
        try:
            await cluster.replace(secret | {"data": wanted}, secret["metadata"]["resourceVersion"])
        except Conflict:
            continue
        return f"the Secret {name} has new keys" if KEY not in data else f"the Secret {name} has new tokens"
    raise ClusterError(f"the Secret {name} changes all the time")
