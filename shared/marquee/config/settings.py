"""One frozen object that holds everything that can be set, read from a mapping that is passed in.

Nothing is read at import. Every problem is found before the first is reported, so that a deployment
is mended in one go. ``docs/configuration.md`` is written from the fields below by ``make docs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, tzinfo
from typing import Any

from marquee.config.fields import (
    field_meta,
    integer,
    masked_repr,
    number,
    one_of,
    options,
    rating_scale,
    setting,
    settings_class,
    text,
    to_text,
    url,
    zone,
)
from marquee.errors import SettingsError

PREFIX = "MARQUEE_"


@settings_class
class Settings:
    """Everything that can be set. Field ``x_y`` is the environment variable ``MARQUEE_X_Y``."""

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        self.__dict__.update({f.name: f.default for f in fields(self)} | values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    # Where the parts are.
    database_url: str = setting(
        url("postgresql", "postgres"),
        "PostgreSQL or TimescaleDB. Its password is never shown.",
        "",
        secret=True,
        example="postgresql://app:secret@db.internal:5432/marquee?sslmode=require",
    )
    database_connections: int = setting(
        integer(1, 100), "The most connections that one process opens to the database.", 1
    )
    objects_url: str = setting(
        url("file", "gs", "s3"),
        "Where artifacts and releases are kept.",
        "",
        example="gs://bucket/prefix, s3://bucket/prefix or file:///var/lib/marquee/objects",
    )
    delivery_url: str = setting(
        url("http", "https", "pubsub"),
        "Where the bridge and `recommend` send their events.",
        "",
        example="pubsub://project/topic or http://127.0.0.1:8081",
    )

    customers_url: str = setting(
        url("http", "https"),
        "The customer service, which knows users that we have no history of; empty: none.",
        "",
        example="http://customers.internal:8080",
    )

    # Kafka.
    kafka_bootstrap: str = setting(text, "Kafka's bootstrap servers.", "", example="127.0.0.1:9092")
    kafka_topic: str = setting(text, "The topic that carries the service's log.", "movielog")
    kafka_group: str = setting(text, "The bridge's consumer group.", "marquee-bridge")
    kafka_security: str = setting(
        one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), "Kafka's security protocol.", "PLAINTEXT"
    )
    kafka_sasl_mechanism: str = setting(
        one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "Used with the SASL protocols.", "PLAIN"
    )
    kafka_username: str = setting(text, "SASL user name, or API key.", "")
    kafka_password: str = setting(text, "SASL password, or API secret.", "", secret=True)
    kafka_ca_file: str = setting(text, "The certificate authority, for TLS; empty: the system's.", "")
    kafka_options: tuple[tuple[str, str], ...] = setting(
        options,
        "Further settings of librdkafka for the bridge's consumer, which win over ours.",
        (),
        example="session.timeout.ms=2000,heartbeat.interval.ms=300",
    )

    # The stream.
    time_zone: tzinfo = setting(zone, "The zone of the log's times, which name none.", UTC)
    rating_max: int = setting(rating_scale, "The top of the rating scale: 5, or 10 from 2026 on.", 5)
    caller_timeout_ms: int = setting(
        integer(50, 60_000), "When the service gives up on an answer: 600 ms, 800 in older years.", 600
    )
    health_file: str = setting(
        text,
        "A file that the bridge touches every second while it works, for a health check; empty: none.",
        "",
        example="/tmp/healthy",
    )

    push_audience: str = setting(
        text,
        "`ingest` takes only deliveries with an OIDC token for this audience; empty: whoever may reach it may deliver.",
        "",
        example="https://ingest-abc123.a.run.app",
    )
    push_service_account: str = setting(
        text,
        "The service account that the token has to be of; needed with the audience.",
        "",
        example="push@project.iam.gserviceaccount.com",
    )

    # Training.
    base_data: str = setting(
        text,
        "A directory with ratings.csv, to train on beside what the database holds; empty: none.",
        "",
        example="data/movielens-100k",
    )
    base_fraction: float = setting(
        number(0, 1), "How much of the base data is used, the earliest first; the rest may be replayed.", 1.0
    )
    dvc_remote: str = setting(
        url("file", "gs", "s3"),
        "A DVC remote: every snapshot that was trained on is kept there, so that the model can be made again.",
        "",
        example="gs://bucket/dvc, s3://bucket/dvc or file:///var/lib/marquee/dvc",
    )
    commit: str = setting(
        text, "The git commit that was built, for a program that does not run in its repository.", ""
    )

    # Answers.
    release_refresh_s: float = setting(
        number(0.05, 86_400), "How often an instance looks for a newer release.", 15.0
    )
    history_deadline_ms: int = setting(
        integer(1, 10_000), "How long an answer waits for the user's fresh history.", 60
    )
    customers_deadline_ms: int = setting(
        integer(1, 10_000),
        "How long an answer to a user without a history waits for the customer service.",
        60,
    )
    explore_epsilon: float = setting(
        number(0, 1),
        "The share of the answers that are drawn at random from all unseen movies, for off-policy estimates.",
        0.01,
    )
    explore_slots: int = setting(
        integer(0, 20), "How many places at the end of a list are drawn from a longer stretch of it.", 3
    )
    explore_candidates: int = setting(
        integer(0, 1_000), "How many movies those places are drawn from; at least `explore_slots`.", 9
    )

    # Alerts.
    slack_webhook: str = setting(
        url("https", "http"),
        "An incoming webhook of Slack, where alerts are told of; empty: nowhere. It is never shown.",
        "",
        secret=True,
        example="https://hooks.slack.com/services/T000/B000/secret",
    )
    dashboards_url: str = setting(
        url("https", "http"),
        "Where people see the dashboards, for the links of alerts: a Grafana, or the local page.",
        "",
        example="https://example.grafana.net",
    )

    # Running.
    metrics_port: int = setting(
        integer(0, 65_535), "Where the bridge serves its metrics to Prometheus (GET /metrics); 0: nowhere.", 0
    )
    trace_project: str = setting(
        text,
        "The Google Cloud project that traces belong to, so that a log line is shown beside its trace.",
        "",
    )
    log_level: str = setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "The least that is logged.", "INFO")

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; raises :class:`SettingsError` that lists every problem at once."""
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, found in known.items():
            if name in environment:
                try:
                    values[found.name] = field_meta(found).parse(environment[name].strip())
                except ValueError as error:
                    problems.append(
                        f"{name} is {masked_repr(found, environment[name])}: it should be {error}"
                    )
        problems += [
            f"{name} is not a setting{_nearest(name, known)}"
            for name in environment
            if name.startswith(PREFIX) and name not in known
        ]
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)

    def require(self, *names: str) -> Settings:
        """Return ``self`` if all of ``names`` are set, else say which are missing and what they look like."""
        by_name = {f.name: f for f in fields(self)}
        missing = [n for n in names if not getattr(self, n)]
        if missing:
            raise SettingsError(
                "\n".join(
                    f"{PREFIX}{n.upper()} is not set: {field_meta(by_name[n]).doc} "
                    f"For example {field_meta(by_name[n]).example or by_name[n].default}"
                    for n in missing
                )
            )
        return self

    def environment(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """The variables from which ``from_mapping`` makes these values again; of ``names`` only, if given."""
        wanted = {f.name for f in fields(self)} if names is None else set(names)
        if unknown := wanted - {f.name for f in fields(self)}:
            raise SettingsError(f"no such setting: {', '.join(sorted(unknown))}")
        return {
            PREFIX + f.name.upper(): to_text(getattr(self, f.name))
            for f in fields(self)
            if f.name in wanted and getattr(self, f.name) != f.default
        }

    def __repr__(self) -> str:
        values = (f"{f.name}={masked_repr(f, str(getattr(self, f.name)))}" for f in fields(self))
        return f"Settings({', '.join(values)})"


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else "; see docs/configuration.md"
