"""Settings that each deployed part reads.

This is the one declaration: ``Settings.from_mapping(environment, NEEDS[part])`` gives a part only these, the local
system passes on only these, and ``make docs`` writes infra/needs.json for Terraform. A part is a folder of functions/
or jobs/.
"""

from __future__ import annotations

_KAFKA = ("kafka_bootstrap", "kafka_topic", "kafka_options")

_ACCESS = ("access", "api_keys", "token_secret", "requests_per_s")

NEEDS: dict[str, tuple[str, ...]] = {
    "ingest": (
        "database_url",
        "privacy_key",
        "time_zone",
        "rating_scale",
        "push_identity",
        "delivery_secret",
        "log_level",
    ),
    "events": ("database_url", "privacy_key", "rating_scale", *_ACCESS, "log_level"),
    "recommend": (
        *_ACCESS,
        "database_url",
        "privacy_key",
        "objects_url",
        "delivery_url",
        "delivery_secret",
        "customers_url",
        "lookup_deadline_ms",
        "caller_timeout_ms",
        "release_refresh_s",
        "rating_scale",
        "log_level",
    ),
    "app": (
        "database_url",
        "privacy_key",
        "documents_url",
        "recommend_url",
        "recommend_key",
        "movies_url",
        "rating_scale",
        "retention_days",
        "android_certificates",
        "log_level",
    ),
    "monitor": (
        "database_url",
        "privacy_key",
        "objects_url",
        "documents_url",
        "customers_url",
        "caller_timeout_ms",
        "rating_scale",
        "log_level",
    ),
    "bridge": (
        *_KAFKA,
        "delivery_url",
        "delivery_secret",
        "metrics_address",
        "log_level",
    ),
    "migrate": ("database_url", "database_logins", "documents_url", "retention_days", "rating_scale", "log_level"),
    "retention": ("database_url", "log_level"),
    "retrain": (
        "database_url",
        "privacy_key",
        "objects_url",
        "dvc_remote",
        "retention_days",
        "base_data",
        "base_fraction",
        "commit",
        "movies_url",
        "release_policy",
        "rating_scale",
        "time_zone",
        "log_level",
    ),
    "simulate": (*_KAFKA, "recommend_key", "time_zone", "rating_scale", "caller_timeout_ms", "log_level"),
}
NEEDS["spark"] = NEEDS["retrain"]

DATABASE_PARTS = tuple(
    part for part, names in NEEDS.items() if "database_url" in names and part not in ("migrate", "spark")
)
"""Parts with a login of their own in the database; ``migrate`` is the owner of the tables, ``spark`` is ``retrain``."""

PROVIDED = (
    "database_url",
    "database_logins",
    "objects_url",
    "dvc_remote",
    "delivery_url",
    "kafka_bootstrap",
    "kafka_topic",
    "kafka_options",
    "commit",
    "push_identity",
    "api_keys",
    "token_secret",
    "privacy_key",
    "delivery_secret",
)
"""Settings that Terraform sets itself; its variable ``settings`` takes none of them."""
