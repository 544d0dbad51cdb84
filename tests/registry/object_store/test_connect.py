"""Tests of the factory of object stores: valid URLs, and the cost of connecting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marquee.errors import ObjectStoreError
from marquee.registry.object_store.connect import connect


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models",
        "http://example.edu/x",
        "gs://",
        "s3:///prefix",
        "gs://bucket/p?x=1",
        "file://host/directory",
        "file:relative",
    ],
)
def test_connect_invalid_url_raises_with_valid_forms(url: str) -> None:
    """The error shows the URL and the valid forms."""
    with pytest.raises(ObjectStoreError, match="file:///"):
        connect(url)


def test_connect_sends_nothing() -> None:
    """A process that never uses the store does not pay for it."""
    assert repr(connect("gs://bucket/some/where/")) == "GcsStore('gs://bucket/some/where')"
    assert repr(connect("s3://bucket")) == "S3Store('s3://bucket')"


def test_connect_file_store_imports_no_cloud_client(tmp_path: Path) -> None:
    """With files, no client library of a cloud is imported, nor any other slow module."""
    code = (
        "import sys\n"
        "import marquee.cli.release_commands\n"
        "from marquee.registry.object_store.connect import connect\n"
        "list(connect(sys.argv[1]).list('')), connect('gs://b'), connect('s3://b')\n"
        "slow = {'google.auth', 'google.cloud.storage', 'boto3', 'botocore', 'requests', 'urllib3', 'pandas'}\n"
        "print(*slow & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path.as_uri()], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
