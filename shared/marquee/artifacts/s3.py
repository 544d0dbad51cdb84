"""Objects in the cloud."""

from __future__ import annotations

from marquee.artifacts.file import FileStore
from marquee.errors import ObjectStoreError


class S3Store(FileStore):
    def __init__(self, bucket: str, prefix: str, *, timeout_s: float) -> None:
        raise ObjectStoreError("not there yet")
