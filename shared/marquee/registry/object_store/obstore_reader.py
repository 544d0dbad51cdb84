"""Read-only object store on obstore, for processes that must start fast.

Importing a cloud's own client takes 260 to 280 ms of processor time, importing obstore 2 ms (docs/decisions). It is
not used for writes, because GCS emulators do not support its conditional writes, which therefore cannot be tested. A
version is an ETag, not comparable with the versions of :mod:`marquee.registry.object_store.gcs_store`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from marquee.errors import MarqueeError, ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable
from marquee.registry.object_store.cloud_common import CloudStore
from marquee.registry.object_store.object_store import Content, Object, Version

if TYPE_CHECKING:
    from obstore.store import GCSStore as GcsClient
    from obstore.store import S3Store as S3Client

_ROLES = {"gs": "roles/storage.objectViewer", "s3": "s3:GetObject and s3:ListBucket"}
_READ_ONLY = "this store is read-only: connect without read_only"


class ObstoreReader(CloudStore):
    """:class:`~marquee.registry.object_store.object_store.ObjectStore` whose writes raise ``ObjectStoreError``."""

    def __init__(self, scheme: str, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        super().__init__(bucket, prefix, timeout_s=timeout_s)
        self.scheme = scheme
        self._client_lock = threading.Lock()
        self._cached_client: GcsClient | S3Client | None = None

    def _client(self) -> GcsClient | S3Client:
        with self._client_lock:
            if self._cached_client is None:
                self._cached_client = _client(self.scheme, self.bucket, self.timeout_s)
        return self._cached_client

    def _get(self, key: str, since: Version | None) -> Object | None:
        from obstore import get
        from obstore.exceptions import NotModifiedError

        try:
            result = get(self._client(), key, options={"if_none_match": since} if since else {})
        except NotModifiedError:
            return None
        version = Version(result.meta["e_tag"] or "")
        return None if version == since else Object(bytes(result.bytes()), version)

    def _head(self, key: str) -> Version:
        from obstore import head

        return Version(head(self._client(), key)["e_tag"] or "")

    def modified(self, name: str) -> datetime:
        """See :class:`~marquee.registry.object_store.object_store.Timed`."""
        from obstore import head

        key = self._key(name)
        return self._with_retries(name, lambda: head(self._client(), key)["last_modified"])

    def _range(self, key: str, start: int, length: int) -> bytes:
        from obstore import get

        try:
            return bytes(get(self._client(), key, options={"range": (start, start + length)}).bytes())
        except Exception:
            from obstore import head

            if head(self._client(), key)["size"] <= start:  # A range past the end is empty.
                return b""
            raise

    def _put(self, key: str, data: Content, expected: Version | None) -> Version:  # noqa: ARG002
        raise ObjectStoreError(f"{key!r} in {self._location()} was not written: {_READ_ONLY}")

    def _delete(self, key: str) -> None:
        raise ObjectStoreError(f"{key!r} in {self._location()} was not deleted: {_READ_ONLY}")

    def _list(self, prefix: str) -> Iterator[str]:
        # obstore lists whole folders, but a prefix may end within a name.
        folder = prefix.rpartition("/")[0]
        for page in self._client().list(folder or None):
            yield from (item["path"] for item in page if item["path"].startswith(prefix))

    def _translate_error(self, name: str, error: Exception) -> MarqueeError | None:
        from obstore import exceptions

        message = str(error).partition("\n\nDebug")[0]
        if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
            if self._bucket_is_missing(message):
                return ObjectStoreError(
                    f"there is no bucket {self.scheme}://{self.bucket}: create it, or correct the URL"
                )
            return ObjectNotFound(f"there is no object {name!r} in {self._location()}")
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return ObjectStoreError(
                f"{self._location()} refuses access to {name!r}: the account needs {_ROLES[self.scheme]}"
            )
        if isinstance(error, exceptions.GenericError):
            return ObjectStoreUnavailable(f"{self._location()} cannot be reached, or failed: {message}")
        if isinstance(error, exceptions.BaseError | ValueError):
            return ObjectStoreError(f"{self._location()} cannot be used: {message}")
        return None

    def _bucket_is_missing(self, message: str) -> bool:
        """Return True if a 404 means that the bucket is missing; False if that cannot be found out."""
        if "NoSuchBucket" in message:
            return True
        try:
            next(iter(self._client().list(chunk_size=1)), None)
        except FileNotFoundError:
            return True
        except Exception:
            return False
        return False


def _client(scheme: str, bucket: str, timeout_s: float) -> GcsClient | S3Client:
    """Return a client. obstore finds the credentials, and S3's emulator, but not the emulator of GCS."""
    from obstore.store import GCSStore, S3Store

    emulator = os.environ.get("STORAGE_EMULATOR_HOST" if scheme == "gs" else "AWS_ENDPOINT_URL", "")
    options: Any = {
        "timeout": f"{timeout_s}s",
        "connect_timeout": f"{min(5.0, timeout_s)}s",
        "allow_http": emulator.startswith("http://"),
    }
    no_retries: Any = {"max_retries": 0}  # CloudStore retries and counts the attempts.
    if scheme == "s3":
        return S3Store(bucket, client_options=options, retry_config=no_retries)
    config: Any = {"base_url": emulator, "skip_signature": True} if emulator else {}
    return GCSStore(bucket, config=config, client_options=options, retry_config=no_retries)
