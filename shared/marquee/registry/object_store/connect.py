"""The object store of a URL.

file:///directory          one machine            marquee.registry.object_store.file_store
gs://bucket/prefix         Google Cloud Storage   marquee.registry.object_store.gcs_store
s3://bucket/prefix         S3 and compatible      marquee.registry.object_store.s3_store
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from marquee.errors import ObjectStoreError
from marquee.registry.object_store.object_store import ObjectStore


def connect(url: str, *, timeout_s: float = 20.0, read_only: bool = False) -> ObjectStore:
    """The store at ``url``. Nothing is sent and no client library is imported before the first use.

    ``timeout_s`` bounds how long one call keeps trying while the store does not answer. ``read_only``: for
    what has to start fast; writes are refused, and versions are only to be compared with its own.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from marquee.registry.object_store.file_store import FileStore

        return FileStore(_directory(url), lock_timeout_s=timeout_s)
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc or parts.scheme not in ("gs", "s3") or parts.query or parts.fragment:
        raise ObjectStoreError(
            f"{url!r} names no object store: use file:///directory, gs://bucket/prefix or s3://bucket/prefix"
        )
    if read_only:
        from marquee.registry.object_store.obstore_reader import ObstoreReader

        return ObstoreReader(parts.scheme, parts.netloc, prefix, timeout_s=timeout_s)
    return _cloud_store(parts.scheme, parts.netloc, prefix, timeout_s)


def _cloud_store(scheme: str, bucket: str, prefix: str, timeout_s: float) -> ObjectStore:
    if scheme == "gs":
        from marquee.registry.object_store.gcs_store import GcsStore

        return GcsStore(bucket, prefix, timeout_s=timeout_s)
    from marquee.registry.object_store.s3_store import S3Store

    return S3Store(bucket, prefix, timeout_s=timeout_s)


def _directory(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or parts.query or parts.fragment:
        raise ObjectStoreError(f"{url!r} is no directory of this machine: write file:///absolute/directory")
    return path
