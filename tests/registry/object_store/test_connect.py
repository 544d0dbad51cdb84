"""Connecting to a store: the URLs that name one, and what it costs."""

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
def test_urls_that_name_no_store(url: str) -> None:
    """The error shows the URL and the forms that are valid."""
    with pytest.raises(ObjectStoreError, match="file:///"):
        connect(url)


def test_nothing_is_imported_or_sent_before_the_first_use() -> None:
    """Connecting costs nothing: a function that never needs the store never pays for it."""
    assert repr(connect("gs://bucket/some/where/")) == "GcsStore('gs://bucket/some/where')"
    assert repr(connect("s3://bucket")) == "S3Store('s3://bucket')"


def test_a_program_pays_only_for_the_store_it_uses(tmp_path: Path) -> None:
    """With files, no client library of any cloud is imported, nor anything else that is slow."""
    code = (
        "import sys\n"
        "import marquee.cli.release_commands\n"
        "from marquee.registry.object_store.connect import connect\n"
        "list(connect(sys.argv[1]).list('')), connect('gs://b'), connect('s3://b')\n"
        "slow = {'google.auth', 'google.cloud.storage', 'boto3', 'botocore', 'requests', 'urllib3', 'pandas'}\n"
        "print(*slow & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path.as_uri()], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
