"""How lists and watches are read from the API server: what is requested, and how much of an answer is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypedDict

import aiohttp

from skymap_api.resource.base import Manifest

JSON = "application/json"


class Reading(TypedDict, total=False):
    """Which objects are read, and what of them.

    ``labels``, ``fields``: selectors. ``keep``: what is kept of an object, in whose place the object is freed at once.
    ``metadata_only``: the API server sends no more than metadata.
    """

    labels: str
    fields: str
    keep: Callable[[Manifest], Manifest]
    metadata_only: bool


class TooLong(Exception):  # noqa: N818 - a state of the answer, not a mistake
    """An answer is longer than what is read of it."""


def selectors(reading: Reading) -> dict[str, str]:
    """Return the parameters of a request that select objects."""
    return {"labelSelector": reading.get("labels", ""), "fieldSelector": reading.get("fields", "")}


def accepted(reading: Reading, metadata: str) -> str:
    """Return the media type to request (https://kubernetes.io/docs/reference/using-api/api-concepts)."""
    return f"{JSON};as={metadata};g=meta.k8s.io;v=v1" if reading.get("metadata_only") else JSON


def whole(found: Manifest) -> Manifest:
    """Keep an object as it is."""
    return found


async def read_body(answer: aiohttp.ClientResponse, most: int | None) -> bytes:
    """Return the body of an answer. Raises TooLong, and closes the connection, after ``most`` bytes."""
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if most is not None and size > most:
            answer.close()
            raise TooLong
        pieces.append(piece)
    return b"".join(pieces)


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length; drop a last line without a newline, which is incomplete."""
    begun: list[bytes] = []
    async for piece in pieces:
        *complete, rest = piece.split(b"\n")
        for line in complete:
            yield b"".join((*begun, line))
            begun = []
        begun.append(rest)
