"""Object store on S3, or a compatible store with conditional writes; a version is the object's ETag.

boto3 reads credentials, region and AWS_ENDPOINT_URL from the environment.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
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
    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_PART_BYTES = 64 << 20  # A PUT is limited to 5 GB; 10,000 parts of this size hold 640 GB.
_CREDENTIAL_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


class S3Store(CloudStore):
    """:class:`~marquee.registry.object_store.object_store.ObjectStore` on boto3."""

    scheme = "s3"
    _cached_client: S3Client | None = None

    def __init__(
        self, bucket: str, prefix: str = "", *, timeout_s: float = 20.0, part_bytes: int = _PART_BYTES
    ) -> None:
        super().__init__(bucket, prefix, timeout_s=timeout_s)
        self._client_lock = threading.Lock()
        self._part_bytes = part_bytes

    def _client(self) -> S3Client:
        with self._client_lock:  # Creating a boto3 client is not thread-safe; using one is.
            if self._cached_client is None:
                import boto3
                from botocore.config import Config

                config = Config(
                    connect_timeout=min(5.0, self.timeout_s),
                    read_timeout=self.timeout_s,
                    retries={"total_max_attempts": 1},
                )
                self._cached_client = boto3.session.Session().client("s3", config=config)
                weakref.finalize(self, self._cached_client.close)
        return self._cached_client

    def _get(self, key: str, since: Version | None) -> Object | None:
        from botocore.exceptions import ClientError

        condition: Any = {} if since is None else {"IfNoneMatch": since}
        try:
            answer = self._client().get_object(Bucket=self.bucket, Key=key, **condition)
        except ClientError as error:
            if _status(error) == 304:
                return None
            raise
        with answer["Body"] as body:
            return Object(body.read(), Version(answer["ETag"]))

    def _head(self, key: str) -> Version:
        # Not HEAD: its errors have no body and do not distinguish a missing bucket from a missing object.
        answer = self._client().get_object(Bucket=self.bucket, Key=key)
        answer["Body"].close()
        return Version(answer["ETag"])

    def _range(self, key: str, start: int, length: int) -> bytes:
        from botocore.exceptions import ClientError

        byte_range = f"bytes={start}-{start + length - 1}"
        try:
            answer = self._client().get_object(Bucket=self.bucket, Key=key, Range=byte_range)
        except ClientError as error:
            if _status(error) == 416:
                return b""
            raise
        with answer["Body"] as body:
            return body.read()

    def _put(self, key: str, data: Content, expected: Version | None) -> Version:
        condition: Any = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        if not isinstance(data, Path):
            answer = self._client().put_object(Bucket=self.bucket, Key=key, Body=data, **condition)
            return Version(answer["ETag"])
        if data.stat().st_size > self._part_bytes:
            return self._put_parts(key, data, condition)
        with data.open("rb") as body:
            answer = self._client().put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
        return Version(answer["ETag"])

    def _put_parts(self, key: str, path: Path, condition: Any) -> Version:
        upload: Any = {"Bucket": self.bucket, "Key": key}
        upload["UploadId"] = self._client().create_multipart_upload(**upload)["UploadId"]
        try:
            parts = list(self._upload_parts(upload, path))
            answer = self._client().complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            # Parts of an incomplete upload cost money until it is aborted. Report the first error; a lifecycle rule
            # of the bucket cleans up where the abort fails too.
            with suppress(Exception):
                self._client().abort_multipart_upload(**upload)
            raise
        return Version(answer["ETag"])

    def _upload_parts(self, upload: Any, path: Path) -> Iterator[CompletedPartTypeDef]:
        with path.open("rb") as file:
            for number, chunk in enumerate(iter(lambda: file.read(self._part_bytes), b""), 1):
                answer = self._client().upload_part(**upload, PartNumber=number, Body=chunk)
                yield {"PartNumber": number, "ETag": answer["ETag"]}

    def _list(self, prefix: str) -> Iterator[str]:
        pages = self._client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
            yield from (item["Key"] for item in page.get("Contents", []))

    def _delete(self, key: str) -> None:
        self._client().delete_object(Bucket=self.bucket, Key=key)

    def _translate_error(self, name: str, error: Exception) -> MarqueeError | None:
        from botocore import exceptions as aws
        from urllib3.exceptions import HTTPError

        if isinstance(error, aws.ClientError):
            return self._translate_response(name, error)
        if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError)):
            return ObjectStoreError(
                f"{self._location()} needs credentials and found none, or incomplete ones: set AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
            )
        unreachable = (
            aws.HTTPClientError,
            aws.IncompleteReadError,
            aws.FlexibleChecksumError,
            aws.ConnectionError,
            HTTPError,
        )
        if isinstance(error, unreachable):
            return ObjectStoreUnavailable(f"{self._location()} cannot be reached: {error}")
        if isinstance(error, aws.BotoCoreError):
            return ObjectStoreError(f"{self._location()} cannot be used: {error}")
        return None

    def _translate_response(self, name: str, error: ClientError) -> MarqueeError:
        code, status = error.response["Error"].get("Code", ""), _status(error)
        if status in (408, 429) or status >= 500 or code in ("ConditionalRequestConflict", "RequestTimeout"):
            return ObjectStoreUnavailable(f"{self._location()} answered {status} {code}")
        if code == "NoSuchBucket":
            return ObjectStoreError(f"there is no bucket s3://{self.bucket}: create it, or correct the URL")
        if status == 412:
            return PreconditionFailed(f"{name!r} in {self._location()} was not written: it exists, or has changed")
        if code == "NoSuchKey" or status == 404:
            return ObjectNotFound(f"there is no object {name!r} in {self._location()}")
        if code in _CREDENTIAL_CODES:
            return ObjectStoreError(f"{self._location()} rejected the credentials: {code}")
        if status in (401, 403):
            return ObjectStoreError(
                f"{self._location()} refuses access to {name!r} ({code}): the account needs s3:GetObject, "
                "s3:PutObject, s3:DeleteObject and s3:ListBucket, or s3:GetObject and s3:ListBucket to read only"
            )
        return ObjectStoreError(f"{self._location()} answered {status} {code} for {name!r}")


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500))
