"""Base data, and object stores of each kind."""

from tests.registry.conftest import (
    cloud_environment,
    cloud_location,
    file_store,
    gcs_server,
    location,
    s3_server,
    store,
)
from tests.support.base_data import base, base_data

__all__ = [
    "base",
    "base_data",
    "cloud_environment",
    "cloud_location",
    "file_store",
    "gcs_server",
    "location",
    "s3_server",
    "store",
]
