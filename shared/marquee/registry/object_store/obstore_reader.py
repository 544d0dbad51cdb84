"""Reading from a cloud's store alone, for what must start fast: obstore, which both clouds share.

The clouds' own clients take 260 to 280 ms of processor time to import, this one 2 (docs/decisions). It
is not used to write: what GCS's emulators make of its conditional writes cannot be tested. A version
here is an ETag, and so is none of those that :mod:`marquee.registry.object_store.gcs_store` gives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from marquee.errors import MarqueeError, ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable
from marquee.registry.object_store.cloud_common import CloudStore
from marquee.registry.object_store.object_store import Content, Object, Version

if TYPE_CHECKING:
    from obstore.store import GCSStore as GcsClient
    from obstore.store import S3Store as S3Client

_ROLES = {"gs": "roles/storage.objectViewer", "s3": "s3:GetObject and s3:ListBucket"}
_NOT_WRITTEN = "this store was connected to for reading only: connect without read_only"


class ObstoreReader(CloudStore):
    """An :class:`~marquee.registry.object_store.object_store.ObjectStore` whose writes raise ``ObjectStoreError``."""

    def __init__(self, scheme: str, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        super().__init__(bucket, prefix, timeout_s=timeout_s)
        self.scheme = scheme
        self._making = threading.Lock()
        self._made: GcsClient | S3Client | None = None

    def _client(self) -> GcsClient | S3Client:
        with self._making:
            if self._made is None:
                self._made = _client(self.scheme, self.bucket, self.timeout_s)
        return self._made

    def _get(self, key: str, since: Version | None) -> Object | None:
        from obstore import get
        from obstore.exceptions import NotModifiedError

        try:
            found = get(self._client(), key, options={"if_none_match": since} if since else {})
        except NotModifiedError:
            return None
        version = Version(found.meta["e_tag"] or "")
        return None if version == since else Object(bytes(found.bytes()), version)

    def _head(self, key: str) -> Version:
        from obstore import head

        return Version(head(self._client(), key)["e_tag"] or "")

    def _range(self, key: str, start: int, length: int) -> bytes:
        from obstore import get

        try:
            return bytes(get(self._client(), key, options={"range": (start, start + length)}).bytes())
        except Exception:
            from obstore import head

            if head(self._client(), key)["size"] <= start:  # A range past the end holds nothing.
                return b""
            raise

    def _put(self, key: str, data: Content, expected: Version | None) -> Version:
        raise ObjectStoreError(f"{key!r} in {self._place()} was not written: {_NOT_WRITTEN}")

    def _delete(self, key: str) -> None:
        raise ObjectStoreError(f"{key!r} in {self._place()} was not deleted: {_NOT_WRITTEN}")

    def _list(self, prefix: str) -> Iterator[str]:
        # The library lists whole folders, and a prefix may end within a name.
        folder = prefix.rpartition("/")[0]
        for page in self._client().list(folder or None):
            yield from (item["path"] for item in page if item["path"].startswith(prefix))

    def _translated(self, name: str, error: Exception) -> MarqueeError | None:
        from obstore import exceptions

        said = str(error).partition("\n\nDebug")[0]
        if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
            if self._bucket_is_missing(said):
                return ObjectStoreError(
                    f"there is no bucket {self.scheme}://{self.bucket}: create it, or mend the URL"
                )
            return ObjectNotFound(f"there is no object {name!r} in {self._place()}")
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return ObjectStoreError(
                f"{self._place()} refuses access to {name!r}: the account needs {_ROLES[self.scheme]}"
            )
        if isinstance(error, exceptions.GenericError):
            return ObjectStoreUnavailable(f"{self._place()} cannot be reached, or failed: {said}")
        if isinstance(error, exceptions.BaseError | ValueError):
            return ObjectStoreError(f"{self._place()} cannot be used: {said}")
        return None

    def _bucket_is_missing(self, said: str) -> bool:
        """A 404 need not say what is missing; asked only then, and any doubt means the object."""
        if "NoSuchBucket" in said:
            return True
        try:
            next(iter(self._client().list(chunk_size=1)), None)
        except FileNotFoundError:
            return True
        except Exception:
            return False
        return False


def _client(scheme: str, bucket: str, timeout_s: float) -> GcsClient | S3Client:
    """The client finds its credentials by itself; of the variables that name an emulator, only S3's."""
    from obstore.store import GCSStore, S3Store

    emulator = os.environ.get("STORAGE_EMULATOR_HOST" if scheme == "gs" else "AWS_ENDPOINT_URL", "")
    options: Any = {
        "timeout": f"{timeout_s}s",
        "connect_timeout": f"{min(5.0, timeout_s)}s",
        "allow_http": emulator.startswith("http://"),
    }
    once: Any = {"max_retries": 0}  # The tries are counted by who calls.
    if scheme == "s3":
        return S3Store(bucket, client_options=options, retry_config=once)
    config: Any = {"base_url": emulator, "skip_signature": True} if emulator else {}
    return GCSStore(bucket, config=config, client_options=options, retry_config=once)
