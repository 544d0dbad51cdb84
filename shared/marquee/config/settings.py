"""The settings: one immutable object, read from a mapping of environment variables.

Nothing is read at import; :mod:`marquee.config.environment_settings` reads. ``make docs`` writes
docs/configuration.md from the fields below.
"""

from __future__ import annotations

from datetime import UTC, tzinfo

from marquee.config.api_keys import api_keys_text, token_secret
from marquee.config.environment_settings import PREFIX as PREFIX
from marquee.config.environment_settings import EnvironmentSettings
from marquee.config.fields import (
    integer,
    name_value_pairs,
    number,
    one_of,
    rating_max,
    setting,
    settings_class,
    text,
    time_zone,
    url,
)


@settings_class
class Settings(EnvironmentSettings):
    """All settings; the field ``x_y`` is the environment variable ``MARQUEE_X_Y``.

    ``Settings(rating_max=10)`` has the defaults for the other settings.
    """

    # Required by the parts that use them.
    database_url: str = setting(
        url("postgresql", "postgres"),
        "URL of PostgreSQL or TimescaleDB. Messages never show its password.",
        "",
        group="required",
        secret=True,
        example="postgresql://app:secret@db.internal:5432/marquee?sslmode=require",
    )
    database_logins: tuple[tuple[str, str], ...] = setting(
        name_value_pairs,
        "Password of each part's own login, which `migrate` makes or changes (docs/operations.md).",
        (),
        secret=True,
        example="ingest=secret,recommend=other",
    )
    objects_url: str = setting(
        url("file", "gs", "s3"),
        "Object storage of artifacts and releases.",
        "",
        group="required",
        example="gs://bucket/prefix, s3://bucket/prefix or file:///var/lib/marquee/objects",
    )
    delivery_url: str = setting(
        url("http", "https", "pubsub"),
        "Receiver of the events that the bridge and `recommend` send: a Pub/Sub topic, or `ingest` itself.",
        "",
        group="required",
        example="pubsub://project/topic or http://127.0.0.1:8081",
    )
    kafka_bootstrap: str = setting(text, "Bootstrap servers of Kafka.", "", group="required", example="127.0.0.1:9092")

    # Event log.
    kafka_topic: str = setting(text, "Topic of the event log.", "movielog")
    kafka_group: str = setting(text, "Consumer group of the bridge.", "marquee-bridge")
    kafka_security: str = setting(
        one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), "Security protocol of Kafka.", "PLAINTEXT"
    )
    kafka_sasl_mechanism: str = setting(
        one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "Mechanism of the SASL protocols.", "PLAIN"
    )
    kafka_username: str = setting(text, "SASL user name or API key.", "")
    kafka_password: str = setting(text, "SASL password or API secret.", "", secret=True)
    kafka_ca_file: str = setting(
        text, "File of the certificate authority for TLS. If empty, the system's authorities are used.", ""
    )
    time_zone: tzinfo = setting(time_zone, "Time zone of the event log, whose times name none.", UTC)
    rating_max: int = setting(rating_max, "Highest rating of the event log's scale: 5, or 10 from 2026 on.", 5)

    # Delivery and monitoring of the bridge.
    push_audience: str = setting(
        text,
        "Audience of the OIDC token that `ingest` requires of each request. If empty, `ingest` requires no token.",
        "",
        example="https://ingest-abc123.a.run.app",
    )
    push_service_account: str = setting(
        text,
        "Service account that must have issued the token. Required with `push_audience`.",
        "",
        example="push@project.iam.gserviceaccount.com",
    )
    health_file: str = setting(
        text,
        "File that the bridge touches every second while it works, for a health check.",
        "",
        example="/tmp/healthy",
    )
    metrics_port: int = setting(
        integer(0, 65_535), "Port of the bridge's Prometheus metrics (GET /metrics). 0 turns them off.", 0
    )
    metrics_address: str = setting(
        text,
        "Address on which the bridge serves its metrics. In a container, 0.0.0.0 lets Prometheus reach it.",
        "127.0.0.1",
    )

    # Access to the HTTP APIs (docs/access.md).
    access: str = setting(
        one_of("private", "platform", "public"),
        "Who may call `recommend` and `events` without a key: `private`, only this machine, where no keys are set;"
        " `platform`, whom the platform in front lets through; `public`, everyone, for reading.",
        "private",
    )
    api_keys: str = setting(
        api_keys_text,
        "Keys of the callers of `recommend` and `events`: name, scopes and SHA-256. `marquee keys create` makes one.",
        "",
        secret=True,
        example="movie-service:read+write:" + "0" * 64,
    )
    privacy_key: str = setting(
        token_secret,
        "Secret of the keyed hashes by which forgotten users are recognized, and of pseudonyms; at least 32 characters."
        " Every part needs the same, and it never changes. If empty, no user can be forgotten.",
        "",
        secret=True,
    )
    delivery_secret: str = setting(
        token_secret,
        "Secret that the bridge and `recommend` send to `ingest` over HTTP; set alike for all three, where no platform "
        "authenticates the sender. If empty, `ingest` does not ask for it.",
        "",
        secret=True,
    )
    token_secret: str = setting(
        token_secret,
        "Secret that signs the tokens with which an app reads for one user. If empty, no token is valid.",
        "",
        secret=True,
    )
    key_requests_per_s: float = setting(
        number(0, 100_000), "Requests a second of one key to one instance; more are refused. 0: no limit.", 100.0
    )
    address_requests_per_s: float = setting(
        number(0, 100_000),
        "Requests a second of one address without a key to one instance, where access is `public`. 0: no limit.",
        10.0,
    )

    # Recommendations.
    customers_url: str = setting(
        url("http", "https"),
        "Customer service, which knows the age, gender and occupation of users without a history.",
        "",
        example="http://customers.internal:8080",
    )
    trace_project: str = setting(text, "Google Cloud project of the traces, which links log lines to their traces.", "")

    # The app.
    documents_url: str = setting(
        url("mongodb", "mongodb+srv"),
        "URL of MongoDB, for the app and for the reports on its use.",
        "",
        secret=True,
        example="mongodb+srv://app:secret@cluster.example.mongodb.net/marquee",
    )
    recommend_url: str = setting(
        url("http", "https"), "The function `recommend`, for the app.", "", example="https://recommend-abc123.a.run.app"
    )
    recommend_key: str = setting(
        text, "Key with which the app and the simulator call `recommend`, if it requires one.", "", secret=True
    )
    movies_url: str = setting(
        url("http", "https"),
        "Movie service: plays and rates movies for the app's users and logs that; describes movies to retraining.",
        "",
        example="http://movies.internal:8080",
    )
    event_days: int = setting(integer(1, 3_650), "Days after which the app's analytics events are deleted.", 90)
    android_certificates: str = setting(
        text,
        "SHA-256 fingerprints of the certificates of the Android package, separated by commas.",
        "",
        example="14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5",
    )

    # Training.
    base_data: str = setting(
        text,
        "Directory with ratings.csv, to train on together with the database.",
        "",
        example="data/movielens-100k",
    )
    base_fraction: float = setting(
        number(0, 1), "Fraction of the base data to train on, the earliest ratings first.", 1.0
    )
    dvc_remote: str = setting(
        url("file", "gs", "s3"),
        "DVC remote that stores each training snapshot, so that its model can be reproduced.",
        "",
        example="gs://bucket/dvc, s3://bucket/dvc or file:///var/lib/marquee/dvc",
    )
    snapshot_days: int = setting(
        integer(1, 3_650),
        "Days after which a snapshot of the database is deleted from the DVC remote, unless its model serves.",
        90,
    )
    release_policy: str = setting(
        one_of("canary", "direct"),
        "How `marquee retrain` releases a model: as a canary, which the monitor ramps, promotes or rolls back, or to "
        "all users at once. The first model is released directly, and so is every model of a run without a database.",
        "canary",
    )
    experiment_schedule: str = setting(
        one_of("declared", "local"),
        "Which times of a declaration hold for an experiment that is started: those of its `ends`, or of its `local`.",
        "declared",
    )
    commit: str = setting(text, "Git commit of the build, for a program that does not run in its repository.", "")

    # Alerts and logs.
    slack_webhook: str = setting(
        url("https", "http"),
        "Incoming webhook of Slack that receives alerts. Messages never show it.",
        "",
        secret=True,
        example="https://hooks.slack.com/services/T000/B000/secret",
    )
    dashboards_url: str = setting(
        url("https", "http"),
        "Address of the dashboards, for the links in alerts: a Grafana or the local page.",
        "",
        example="https://example.grafana.net",
    )
    log_level: str = setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "Lowest level that is logged.", "INFO")

    # Tuning.
    caller_timeout_ms: int = setting(
        integer(50, 60_000),
        "Timeout of the caller of `recommend`: 600 ms, or 800 before 2026. All deadlines must fit into it.",
        600,
        group="tuning",
    )
    lookup_deadline_ms: int = setting(
        integer(1, 10_000),
        "Deadline of each look-up for a list: the user's recent history, and their account at the customer service."
        " After it, the answer does without.",
        60,
        group="tuning",
    )
    release_refresh_s: float = setting(
        number(0.05, 86_400), "Interval at which an instance looks for a newer release.", 15.0, group="tuning"
    )
    kafka_options: tuple[tuple[str, str], ...] = setting(
        name_value_pairs,
        "Options of librdkafka for the bridge's consumer. They override those that Marquee sets.",
        (),
        group="tuning",
        example="session.timeout.ms=2000,heartbeat.interval.ms=300",
    )
