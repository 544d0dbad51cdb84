"""Settings that the local system sets itself."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from marquee.config.api_keys import NONE, SCOPES, create_key
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.embedded_kafka import CONSUMER_OPTIONS
from marquee.local.shape import Shape
from marquee.local.state_dir import StateDir

# More often than in the cloud, where each check costs money.
RELEASE_REFRESH_S = 2.0
BASE_DATA = "data/movielens-100k"
# The simulator replays the latest fraction of the ratings, so the models are trained without it.
REPLAY_FRACTION = 0.2
_OWN_KEY = "parts-of-this-system"
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
ENVIRONMENT_SETTINGS = (*LOCATION_SETTINGS, "kafka_topic", "kafka_options", "rating_scale", "privacy_key")


def localize(settings: Settings, state_dir: StateDir) -> Settings:
    """Return the settings with objects, snapshots and privacy key of ``state_dir``, and quick releases."""
    data = state_dir.data
    return replace(
        settings,
        release_refresh_s=RELEASE_REFRESH_S,
        release_policy="direct" if settings.release_policy == "direct" else "quick-canary",
        # Other users of this machine can reach `ingest`, too. The secret is known to the parts alone.
        delivery_secret=settings.delivery_secret or secrets.token_urlsafe(32),
        objects_url=(data / "objects").resolve().as_uri(),
        dvc_remote=(data / "dvc").resolve().as_uri(),
        privacy_key=settings.privacy_key or state_dir.read_privacy_key(),
    )


def admit_own_parts(settings: Settings, shape: Shape) -> Settings:
    """Return the settings with a key for the system's own parts, if callers need one.

    Raises :class:`SettingsError` if other machines could call the APIs and no caller has a key.
    """
    if settings.api_keys in ("", NONE):
        if shape.is_open:
            raise SettingsError(
                f"with --host {shape.host} other machines can call `recommend` and `events`, so callers need keys, and "
                "MARQUEE_API_KEYS is not set. Make one with `marquee keys create NAME --scope read`, and set what it "
                "prints."
            )
        return settings
    key, entry = create_key(_OWN_KEY, SCOPES)
    return replace(settings, api_keys=f"{settings.api_keys},{entry}", recommend_key=key)


def use_sources(settings: Settings, root: Path, shape: Shape) -> Settings:
    """Return the settings with base data and the consumer's options: the system's own ones, or those of ``shape``."""
    own = shape.ratings
    base_data = str(own.resolve() if own else root / BASE_DATA) if shape.base else ""
    is_whole = own is not None and not shape.replayed
    settings = replace(settings, base_data=base_data, base_fraction=1.0 if is_whole else 1 - REPLAY_FRACTION)
    if shape.kafka:
        return settings
    return replace(settings, kafka_options=CONSUMER_OPTIONS)
