"""Settings that the local system sets itself."""

from __future__ import annotations

import secrets
from dataclasses import replace

from marquee.config.settings import Settings
from marquee.local.state_dir import StateDir

# More often than in the cloud, where each check costs money.
RELEASE_REFRESH_S = 2.0
# The locations of the local system's own parts, which override the environment.
LOCATION_SETTINGS = (
    "database_url",
    "objects_url",
    "delivery_url",
    "dvc_remote",
    "kafka_bootstrap",
    "documents_url",
    "recommend_url",
    "movies_url",
)
# Settings with which other processes find and use them.
ENVIRONMENT_SETTINGS = (*LOCATION_SETTINGS, "kafka_topic", "kafka_group", "rating_max", "privacy_key")


def localize(settings: Settings, state_dir: StateDir) -> Settings:
    """Return the settings with objects, snapshots and privacy key of ``state_dir``, and quick releases."""
    data = state_dir.data
    return replace(
        settings,
        release_refresh_s=RELEASE_REFRESH_S,
        experiment_schedule="local",
        # Other users of this machine can reach `ingest`, too. The secret is known to the parts alone.
        delivery_secret=settings.delivery_secret or secrets.token_urlsafe(32),
        objects_url=(data / "objects").resolve().as_uri(),
        dvc_remote=(data / "dvc").resolve().as_uri(),
        privacy_key=settings.privacy_key or state_dir.read_privacy_key(),
    )
