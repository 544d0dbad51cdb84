"""Factory of object stores by URL.

file:///directory          one machine            marquee.registry.object_store.file_store
gs://bucket/prefix         Google Cloud Storage   marquee.registry.object_store.gcs_store
s3://bucket/prefix         S3 and compatible      marquee.registry.object_store.s3_store
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from marquee.config.masking import mask_password
from marquee.errors import ObjectStoreError
from marquee.registry.object_store.object_store import ObjectStore


def connect(url: str, *, timeout_s: float = 20.0, read_only: bool = False) -> ObjectStore:
    """Return the store at ``url``. It connects, and imports its client library, at the first use.

    ``timeout_s`` limits the retries of one call while the store does not answer. ``read_only`` selects a client that
    starts faster and refuses writes; its versions are comparable only with each other.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from marquee.registry.object_store.file_store import FileStore

        return FileStore(_parse_directory(url), lock_timeout_s=timeout_s)
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc or parts.scheme not in ("gs", "s3") or parts.query or parts.fragment:
        raise ObjectStoreError(
            f"{mask_password(url)!r} is not the URL of an object store: use file:///directory, gs://bucket/prefix or s3://bucket/prefix"
        )
    if read_only:
        from marquee.registry.object_store.obstore_reader import ObstoreReader

        return ObstoreReader(parts.scheme, parts.netloc, prefix, timeout_s=timeout_s)
    return _connect_cloud(parts.scheme, parts.netloc, prefix, timeout_s)


def _connect_cloud(scheme: str, bucket: str, prefix: str, timeout_s: float) -> ObjectStore:
    if scheme == "gs":
        from marquee.registry.object_store.gcs_store import GcsStore

        return GcsStore(bucket, prefix, timeout_s=timeout_s)
    from marquee.registry.object_store.s3_store import S3Store

    return S3Store(bucket, prefix, timeout_s=timeout_s)


def _parse_directory(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or parts.query or parts.fragment:
        raise ObjectStoreError(f"{mask_password(url)!r} is not a local directory: use file:///absolute/directory")
    return path
