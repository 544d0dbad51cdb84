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
    RATING_SCALES,
    host_and_port,
    integer,
    name_value_pairs,
    number,
    object_store_url,
    one_of,
    setting,
    settings_class,
    text,
    time_zone,
    url,
)


@settings_class
class Settings(EnvironmentSettings):
    """All settings; the field ``x_y`` is the environment variable ``MARQUEE_X_Y``.

    ``Settings(rating_scale="1-10")`` has the defaults for the other settings.
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
        object_store_url,
        "Object storage of artifacts and releases: `gs://`, `s3://` or `file://`.",
        "",
        group="required",
        example="gs://bucket/prefix",
    )
    delivery_url: str = setting(
        url("http", "https", "pubsub"),
        "Receiver of the events that the bridge and `recommend` send: a Pub/Sub topic, or the URL of `ingest`.",
        "",
        group="required",
        example="pubsub://project/topic",
    )
    kafka_bootstrap: str = setting(text, "Bootstrap servers of Kafka.", "", group="required", example="127.0.0.1:9092")

    # Event log.
    kafka_topic: str = setting(text, "Topic of the event log.", "movielog")
    kafka_options: tuple[tuple[str, str], ...] = setting(
        name_value_pairs,
        "Options of librdkafka for all Kafka clients, such as TLS, SASL and `group.id`, that of the bridge being"
        " `marquee-bridge` otherwise. A comma within a value is written `\\,`.",
        (),
        secret=True,
        example="security.protocol=SASL_SSL,sasl.mechanism=PLAIN,sasl.username=key,sasl.password=secret",
    )
    time_zone: tzinfo = setting(time_zone, "Time zone of the event log, whose times name none.", UTC)
    rating_scale: str = setting(
        one_of(*RATING_SCALES),
        "Rating scale of the event log: whole numbers, or half stars from 0.5 on. `marquee db migrate` prepares the "
        "database for half stars, which is possible only before the first rating.",
        "1-5",
    )

    # Delivery, and monitoring of the bridge.
    push_identity: tuple[tuple[str, str], ...] = setting(
        name_value_pairs,
        "Service account and audience of the OIDC token that `ingest` requires of each request. If empty, `ingest` "
        "requires no token.",
        (),
        example="push@project.iam.gserviceaccount.com=https://ingest-abc123.a.run.app",
    )
    metrics_address: str = setting(
        host_and_port,
        "Host and port at which the bridge serves Prometheus metrics (GET /metrics). If empty, it serves none.",
        "",
        example="127.0.0.1:9464",
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
    requests_per_s: float = setting(
        number(0, 100_000),
        "Requests a second of one key to one instance; more are refused. An address without a key, where access is "
        "`public`, has a tenth of it. 0: no limit.",
        100.0,
    )

    # Recommendations.
    customers_url: str = setting(
        url("http", "https"),
        "Customer service, which knows the age, gender and occupation of users without a history.",
        "",
        example="http://customers.internal:8080",
    )

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
        object_store_url,
        "DVC remote that stores each training snapshot, so that its model can be reproduced: `gs://`, `s3://` or "
        "`file://`.",
        "",
        example="gs://bucket/dvc",
    )
    release_policy: str = setting(
        one_of("canary", "quick-canary", "direct"),
        "How `marquee retrain` releases a model: as a canary, which the monitor ramps, promotes or rolls back, or to "
        "all users at once. `quick-canary` takes the times of a declaration's `local` instead of its `ends`. The first "
        "model is released directly, and so is every model of a run without a database.",
        "canary",
    )
    commit: str = setting(text, "Git commit of the build, for a program that does not run in its repository.", "")

    # Operation.
    slack_webhook: str = setting(
        url("https", "http"),
        "Incoming webhook of Slack that receives alerts. Messages never show it.",
        "",
        secret=True,
        example="https://hooks.slack.com/services/T000/B000/secret",
    )
    retention_days: int = setting(
        integer(1, 3_650),
        "Days after which the app's analytics events and, unless their model serves, snapshots of the database are "
        "deleted.",
        90,
    )
    log_level: str = setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "Lowest level that is logged.", "INFO")

    # Tuning.
    caller_timeout_ms: int = setting(
        integer(50, 60_000),
        "Timeout of the caller of `recommend`. All deadlines must fit into it.",
        600,
        group="tuning",
    )
    lookup_deadline_ms: int = setting(
        integer(1, 10_000),
        "Deadline of each look-up for a list: the user's recent history, and their account at the customer service."
        " After that, the answer is made without it.",
        60,
        group="tuning",
    )
    release_refresh_s: float = setting(
        number(0.05, 86_400), "Interval at which an instance looks for a newer release.", 15.0, group="tuning"
    )
