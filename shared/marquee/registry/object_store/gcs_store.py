"""Object store on Google Cloud Storage; a version is the object's generation.

The client library finds the credentials: GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or
the service account of the machine. STORAGE_EMULATOR_HOST selects an emulator.
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
_MAX_SIMPLE_UPLOAD = 8 << 20  # The client uploads larger objects in resumable sessions.


class GcsStore(CloudStore):
    """:class:`~marquee.registry.object_store.object_store.ObjectStore` on google-cloud-storage."""

    scheme = "gs"
    _cached_client: Bucket | None = None

    def __init__(self, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        super().__init__(bucket, prefix, timeout_s=timeout_s)
        self._client_lock = threading.Lock()
        self._call_options = {"timeout": (min(5.0, timeout_s), timeout_s), "retry": None}

    def _bucket(self) -> Bucket:
        with self._client_lock:
            if self._cached_client is None:
                from google.cloud.storage import Client

                client = Client(project=None)
                # This cache only fills in an attribute of trace spans. It starts a thread that requests the bucket's
                # metadata, which costs a request and needs another permission.
                client._bucket_metadata_cache = None
                weakref.finalize(self, client.close)
                self._cached_client = client.bucket(self.bucket)
        return self._cached_client

    def _get(self, key: str, since: Version | None) -> Object | None:
        from google.api_core.exceptions import NotModified

        blob = self._bucket().blob(key)
        try:
            data = blob.download_as_bytes(
                if_generation_not_match=None if since is None else int(since), **self._call_options
            )
        except NotModified:
            return None
        version = Version(str(blob.generation))
        return None if version == since else Object(data, version)  # Emulators ignore the condition.

    def _head(self, key: str) -> Version:
        blob = self._bucket().blob(key)
        blob.reload(**self._call_options)
        return Version(str(blob.generation))

    def _range(self, key: str, start: int, length: int) -> bytes:
        from google.api_core.exceptions import RequestRangeNotSatisfiable

        blob = self._bucket().blob(key)
        try:
            data: bytes = blob.download_as_bytes(start=start, end=start + length - 1, **self._call_options)
        except RequestRangeNotSatisfiable:
            return b""
        return data

    def _put(self, key: str, data: Content, expected: Version | None) -> Version:
        blob = self._bucket().blob(key)
        options: dict[str, Any] = {"content_type": _TYPE, "if_generation_match": int(expected or 0)}
        if isinstance(data, Path):
            blob.upload_from_filename(str(data), **options, **self._upload_options(data.stat().st_size))
        else:
            blob.upload_from_string(data, **options, **self._upload_options(len(data)))
        return Version(str(blob.generation))

    def _upload_options(self, size: int) -> dict[str, Any]:
        """Return call options. A resumable session may retry its parts, because its precondition is checked once."""
        if size <= _MAX_SIMPLE_UPLOAD:
            return self._call_options
        from google.cloud.storage.retry import DEFAULT_RETRY

        return {**self._call_options, "retry": DEFAULT_RETRY.with_timeout(self.timeout_s)}

    def _list(self, prefix: str) -> Iterator[str]:
        client = self._bucket().client
        fields = "items(name),nextPageToken"
        for blob in client.list_blobs(self._bucket(), prefix=prefix, fields=fields, **self._call_options):
            yield blob.name

    def _delete(self, key: str) -> None:
        self._bucket().blob(key).delete(**self._call_options)

    def _translate_error(self, name: str, error: Exception) -> MarqueeError | None:
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
                f"{self._location()} needs credentials and found none: run `gcloud auth application-default "
                "login`, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file"
            )
        if isinstance(error, GoogleAuthError) and not error.retryable:
            return ObjectStoreError(f"{self._location()} rejected the credentials: {error}")
        if isinstance(error, (GoogleAuthError, DataCorruption, RequestException, HTTPError)):
            return ObjectStoreUnavailable(f"{self._location()} cannot be reached: {error}")
        return None

    def _from_status(self, name: str, status: int, error: Exception) -> MarqueeError:
        if status in (408, 429) or status >= 500:
            return ObjectStoreUnavailable(f"{self._location()} answered {status}: {error}")
        if status in (401, 403):
            return ObjectStoreError(
                f"{self._location()} refuses access to {name!r} ({status}): the account needs "
                f"roles/storage.objectUser, or roles/storage.objectViewer to read only"
            )
        if status == 412:
            return PreconditionFailed(f"{name!r} in {self._location()} was not written: it exists, or has changed")
        if status == 404 and self._bucket_is_missing():
            return ObjectStoreError(f"there is no bucket gs://{self.bucket}: create it, or correct the URL")
        if status == 404:
            return ObjectNotFound(f"there is no object {name!r} in {self._location()}")
        return ObjectStoreError(f"{self._location()} answered {status} for {name!r}: {error}")

    def _bucket_is_missing(self) -> bool:
        """List the bucket, and return True if the bucket is missing; False if that cannot be found out."""
        from google.api_core.exceptions import NotFound

        try:
            client = self._bucket().client
            next(iter(client.list_blobs(self._bucket(), max_results=1, **self._call_options)), None)
        except NotFound:
            return True
        except Exception:
            return False
        return False
