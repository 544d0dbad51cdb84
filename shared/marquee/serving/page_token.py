"""Token of the next page: it holds what was shown before, so that no instance has to remember it.

A token is base64url of: CRC-32 of the rest (4 bytes), number of the page (1), CRC-32 of the other parameters and the
user (4), recommendation id of the page before (16), and the CRC-32 of each movie id shown so far (4 each). A movie
whose id has the same CRC-32 as one shown is left out too: with 27,000 movies and 100 shown, one list in 1,600.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

import msgspec
import numpy as np

from marquee.errors import InvalidRequest
from marquee.serving.list_request import PLAIN, ListRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SHOWN = 1_000
_HEAD = struct.Struct("<BI16s")
_CHECKSUM = struct.Struct("<I")
_INVALID = "page is not a token of an earlier answer: use its next_page unchanged."
_encode = msgspec.json.Encoder().encode


class Page(msgspec.Struct, frozen=True):
    """Position in a list: ``number`` of the page, from 1, and the checksums of the movies shown before it."""

    number: int = 1
    before: str = ""
    """Recommendation id of the page before; empty on the first."""
    shown: bytes = b""


FIRST_PAGE = Page()


def read_page(request: ListRequest, user_id: str) -> Page:
    """Return the page that a user's request asks for. Raises :class:`InvalidRequest` for a token of another list."""
    if not request.page:
        return FIRST_PAGE
    try:
        data = urlsafe_b64decode(request.page + "=" * (-len(request.page) % 4))
        body = data[_CHECKSUM.size :]
        if _CHECKSUM.unpack_from(data)[0] != crc32(body):
            raise ValueError
        number, parameters, before = _HEAD.unpack_from(body)
    except (ValueError, struct.error) as error:
        raise InvalidRequest(_INVALID) from error
    if parameters != _hash_list(request, user_id):
        raise InvalidRequest("page belongs to another list: repeat the user and the parameters of the first page.")
    return Page(number, str(UUID(bytes=before)), body[_HEAD.size :])


def write_token(
    request: ListRequest, user_id: str, page: Page, recommendation_id: str, movie_ids: Sequence[str]
) -> str:
    """Return the token of the page after ``page``, which showed ``movie_ids``; empty after the last.

    The last page is the one with which :data:`MAX_SHOWN` movies have been shown.
    """
    shown = page.shown + struct.pack(f"<{len(movie_ids)}I", *[crc32(movie_id.encode()) for movie_id in movie_ids])
    if not movie_ids or len(shown) >= MAX_SHOWN * _CHECKSUM.size or page.number > 254:
        return ""
    identity = UUID(recommendation_id).bytes if recommendation_id else bytes(16)
    body = _HEAD.pack(page.number + 1, _hash_list(request, user_id), identity) + shown
    return urlsafe_b64encode(_CHECKSUM.pack(crc32(body)) + body).rstrip(b"=").decode()


def find_shown(checksums: NDArray[np.uint32], page: Page) -> NDArray[np.intp]:
    """Return the rows that earlier pages showed; ``checksums`` are those of all movie ids, [n_items]."""
    rows: NDArray[np.intp] = np.isin(checksums, np.frombuffer(page.shown, "<u4")).nonzero()[0]
    return rows


def checksum_ids(movie_ids: Sequence[str]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each movie id, [n_items]."""
    return np.array([crc32(movie_id.encode()) for movie_id in movie_ids], np.uint32)


def _hash_list(request: ListRequest, user_id: str) -> int:
    return crc32(user_id.encode(), _PLAIN_HASH if request is PLAIN else _compute_hash(request))


@lru_cache(100)
def _compute_hash(request: ListRequest) -> int:
    return crc32(_encode(msgspec.structs.replace(request, page="", explain=0)))


_PLAIN_HASH = _compute_hash(PLAIN)
