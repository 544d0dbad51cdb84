"""Objects in Google Cloud Storage; a version is the object's generation.

Credentials are found by the client library: GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth
application-default login`, or the service account of the machine. STORAGE_EMULATOR_HOST names an emulator.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marquee.errors import (
    MarqueeError,
    ObjectNotFound,
    ObjectStoreError,
    ObjectStoreUnavailable,
    PreconditionFailed,
)
from marquee.registry.object_store.cloud_common import CloudStore
from marquee.registry.object_store.object_store import Content, Object, Version

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

_TYPE = "application/octet-stream"
_RESUMABLE_OVER = 8 << 20  # The client's own bound, over which it uploads in sessions.


class GcsStore(CloudStore):
    """An :class:`~marquee.registry.object_store.object_store.ObjectStore` on google-cloud-storage."""

    scheme = "gs"
    _made: Bucket | None = None

    def __init__(self, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        super().__init__(bucket, prefix, timeout_s=timeout_s)
        self._making = threading.Lock()
        self._patience = {"timeout": (min(5.0, timeout_s), timeout_s), "retry": None}

    def _bucket(self) -> Bucket:
        with self._making:
            if self._made is None:
                from google.cloud.storage import Client

                client = Client(project=None)
                # Only fills in an attribute of trace spans, for which it starts a thread that asks for the
                # bucket's metadata: a request more, and a permission that we do not need.
                client._bucket_metadata_cache = None
                weakref.finalize(self, client.close)
                self._made = client.bucket(self.bucket)
        return self._made

    def _get(self, key: str, since: Version | None) -> Object | None:
        from google.api_core.exceptions import NotModified

        blob = self._bucket().blob(key)
        try:
            data = blob.download_as_bytes(
                if_generation_not_match=None if since is None else int(since), **self._patience
            )
        except NotModified:
            return None
        version = Version(str(blob.generation))
        return None if version == since else Object(data, version)  # Emulators ignore the condition.

    def _head(self, key: str) -> Version:
        blob = self._bucket().blob(key)
        blob.reload(**self._patience)
        return Version(str(blob.generation))

    def _range(self, key: str, start: int, length: int) -> bytes:
        from google.api_core.exceptions import RequestRangeNotSatisfiable

        blob = self._bucket().blob(key)
        try:
            data: bytes = blob.download_as_bytes(start=start, end=start + length - 1, **self._patience)
        except RequestRangeNotSatisfiable:
            return b""
        return data

    def _put(self, key: str, data: Content, expected: Version | None) -> Version:
        blob = self._bucket().blob(key)
        options: dict[str, Any] = {"content_type": _TYPE, "if_generation_match": int(expected or 0)}
        if isinstance(data, Path):
            blob.upload_from_filename(str(data), **options, **self._patience_for(data.stat().st_size))
        else:
            blob.upload_from_string(data, **options, **self._patience_for(len(data)))
        return Version(str(blob.generation))

    def _patience_for(self, size: int) -> dict[str, Any]:
        """A session may repeat its parts by itself: the precondition is judged once, at its end."""
        if size <= _RESUMABLE_OVER:
            return self._patience
        from google.cloud.storage.retry import DEFAULT_RETRY

        return {**self._patience, "retry": DEFAULT_RETRY.with_timeout(self.timeout_s)}

    def _list(self, prefix: str) -> Iterator[str]:
        client = self._bucket().client
        fields = "items(name),nextPageToken"
        for blob in client.list_blobs(self._bucket(), prefix=prefix, fields=fields, **self._patience):
            yield blob.name

    def _delete(self, key: str) -> None:
        self._bucket().blob(key).delete(**self._patience)

    def _translated(self, name: str, error: Exception) -> MarqueeError | None:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        if isinstance(error, InvalidResponse):
            return self._from_status(name, error.response.status_code, error)
        if isinstance(error, GoogleAPICallError):
            return self._from_status(name, int(error.code or 500), error)
        if isinstance(error, DefaultCredentialsError):
            return ObjectStoreError(
                f"{self._place()} needs credentials and found none: run `gcloud auth application-default "
                "login`, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file"
            )
        if isinstance(error, GoogleAuthError) and not error.retryable:
            return ObjectStoreError(f"the credentials for {self._place()} were not accepted: {error}")
        if isinstance(error, (GoogleAuthError, DataCorruption, RequestException, HTTPError)):
            return ObjectStoreUnavailable(f"{self._place()} cannot be reached: {error}")
        return None

    def _from_status(self, name: str, status: int, error: Exception) -> MarqueeError:
        if status in (408, 429) or status >= 500:
            return ObjectStoreUnavailable(f"{self._place()} answered {status}: {error}")
        if status in (401, 403):
            return ObjectStoreError(
                f"{self._place()} refuses access to {name!r} ({status}): the account needs "
                f"roles/storage.objectUser, or roles/storage.objectViewer to read only"
            )
        if status == 412:
            return PreconditionFailed(
                f"{name!r} in {self._place()} was not written: it exists, or has changed"
            )
        if status == 404 and self._bucket_is_missing():
            return ObjectStoreError(f"there is no bucket gs://{self.bucket}: create it, or mend the URL")
        if status == 404:
            return ObjectNotFound(f"there is no object {name!r} in {self._place()}")
        return ObjectStoreError(f"{self._place()} answered {status} for {name!r}: {error}")

    def _bucket_is_missing(self) -> bool:
        """A 404 does not say what is missing; asked only then, and any doubt means the object."""
        from google.api_core.exceptions import NotFound

        try:
            client = self._bucket().client
            next(iter(client.list_blobs(self._bucket(), max_results=1, **self._patience)), None)
        except NotFound:
            return True
        except Exception:
            return False
        return False
