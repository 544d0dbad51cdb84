"""Settings: parsing, errors and masking of secrets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from docs.generate import configuration_page
from hypothesis import given
from hypothesis import strategies as st

from marquee.config.masking import mask_password
from marquee.config.settings import Settings
from marquee.errors import SettingsError

ROOT = Path(__file__).parents[2]


def test_from_mapping_empty_environment_has_defaults() -> None:
    """An empty environment is valid; a part requires its settings by name."""
    settings = Settings.from_mapping({"PATH": "/bin"})
    assert (settings.rating_scale, settings.caller_timeout_ms, str(settings.time_zone)) == ("1-5", 600, "UTC")


def test_from_mapping_values_are_parsed() -> None:
    settings = Settings.from_mapping(
        {
            "MARQUEE_RATING_SCALE": "1-10",
            "MARQUEE_TIME_ZONE": "America/New_York",
            "MARQUEE_LOOKUP_DEADLINE_MS": " 50 ",
        }
    )
    assert (settings.rating_scale, str(settings.time_zone), settings.lookup_deadline_ms) == (
        "1-10",
        "America/New_York",
        50,
    )


def test_from_mapping_invalid_values_are_all_reported() -> None:
    """One error lists each invalid value with the valid ones."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(
            {
                "MARQUEE_RATING_SCALE": "1-7",
                "MARQUEE_TIME_ZONE": "Mars/Olympus",
                "MARQUEE_METRICS_ADDRESS": "9464",
                "MARQUEE_LOOKUP_DEADLINE_MS": "0",
                "MARQUEE_OBJECTS_URL": "ftp://bucket",
                "MARQUEE_RELEASE_REFRESH_S": "1e9",
                "MARQUEE_KAFKA_TOPICS": "movielog7",
            }
        )
    assert str(caught.value).splitlines() == [
        "MARQUEE_OBJECTS_URL is 'ftp://bucket': expected file:///absolute/directory, gs://bucket/prefix or s3://bucket/prefix",
        "MARQUEE_TIME_ZONE is 'Mars/Olympus': expected a zone of the IANA database, such as UTC or America/New_York",
        "MARQUEE_RATING_SCALE is '1-7': expected one of 1-5, 1-10, 0-5, 0-10, 0.5-5, 0.5-10",
        "MARQUEE_METRICS_ADDRESS is '9464': expected a host and a port, such as 127.0.0.1:9464",
        "MARQUEE_LOOKUP_DEADLINE_MS is '0': expected an integer from 1 to 10000",
        "MARQUEE_RELEASE_REFRESH_S is '1e9': expected a number from 0.05 to 86400",
        "MARQUEE_KAFKA_TOPICS is not a setting: did you mean MARQUEE_KAFKA_TOPIC?",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "tcp://10.0.0.7:8080"),
        ("SERVICE_HOST", "10.0.0.7"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("KAFKA_PORT_9092_TCP", "tcp://10.0.0.7:9092"),
    ],
)
def test_from_mapping_service_link_of_kubernetes_is_explained(name: str, value: str) -> None:
    """The message names the field of the pod that turns these variables off."""
    with pytest.raises(SettingsError, match=f"MARQUEE_{name} is .* enableServiceLinks: false"):
        Settings.from_mapping({f"MARQUEE_{name}": value})


def test_settings_assignment_raises() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().rating_scale = "1-10"  # type: ignore[misc]


def test_require_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"MARQUEE_DATABASE_URL is not set: .* For example postgresql://"):
        Settings().require("kafka_topic", "database_url")
    with pytest.raises(SettingsError, match=r"MARQUEE_TOKEN_SECRET is not set: .* no token is valid\.$"):
        Settings().require("token_secret")


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=12))
def test_secrets_are_masked_everywhere(secret: str) -> None:
    """Neither ``repr`` nor an error message contains a password."""
    good = Settings.from_mapping(
        {
            "MARQUEE_DATABASE_URL": f"postgresql://app:{secret}@db:5432/marquee?sslmode=require",
            "MARQUEE_KAFKA_OPTIONS": f"sasl.password={secret}",
            "MARQUEE_DATABASE_LOGINS": f"ingest={secret}",
        }
    )
    assert secret not in repr(good)
    assert "postgresql://app:***@db:5432/marquee?sslmode=require" in repr(good)
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"MARQUEE_DATABASE_URL": f"mysql://app:{secret}@db"})
    assert secret not in str(caught.value)


def test_secret_in_malformed_url_is_masked_completely() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"MARQUEE_DATABASE_URL": "postgresql:app:hunter2@db", "MARQUEE_RATING_SCALE": "x"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db/marquee", "postgresql://db/marquee"),
        ("postgresql://app@db/marquee", "postgresql://app@db/marquee"),
        ("postgresql://app:p%40ss@db/marquee", "postgresql://app:***@db/marquee"),
        ("postgresql://app:a@b@db:1/marquee", "postgresql://app:***@db:1/marquee"),
    ],
)
def test_mask_password_keeps_rest_of_url(url: str, shown: str) -> None:
    assert mask_password(url) == shown


def test_configuration_page_is_current() -> None:
    """``make docs`` has been run since the settings changed."""
    assert (ROOT / "docs/configuration.md").read_text() == configuration_page()


def test_environment_inverts_from_mapping() -> None:
    """A child process reads the same settings; defaults are not passed on."""
    environment = {
        "MARQUEE_DATABASE_URL": "postgresql://app:secret@db/marquee",
        "MARQUEE_TIME_ZONE": "America/New_York",
        "MARQUEE_RATING_SCALE": "1-10",
        "MARQUEE_RELEASE_REFRESH_S": "2.5",
        "MARQUEE_KAFKA_OPTIONS": r"sasl.password=a\,b,group.id=c",
    }
    settings = Settings.from_mapping(environment)
    assert settings.environment() == environment
    assert settings.kafka_options == (("sasl.password", "a,b"), ("group.id", "c"))
    assert settings.environment(["rating_scale", "log_level"]) == {"MARQUEE_RATING_SCALE": "1-10"}
    with pytest.raises(SettingsError, match="no such setting: ratings_max"):
        settings.environment(["ratings_max"])


SECRET = "s3cr3tX"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_WEBHOOK", f"https://u:pw@hooks.example.edu/services/{SECRET}"),
        ("SLACK_WEBHOOK", f"https://hooks.example.edu/{SECRET}?x=1"),
        ("SLACK_WEBHOOK", f"ftp://hooks.example.edu/{SECRET}"),
        ("SLACK_WEBHOOK", f"https://[hooks/{SECRET}"),
        ("KAFKA_OPTIONS", f"sasl.password=postgres:/{SECRET}"),
        ("KAFKA_OPTIONS", f"sasl.password=a@b://{SECRET}"),
        ("DELIVERY_URL", f"http://app:{SECRET}@ingest:8081"),
        ("DELIVERY_URL", f"http://app:{SECRET}/x[@ingest:8081"),
        ("DELIVERY_URL", f"ftp://app:{SECRET}@ingest"),
        ("CUSTOMERS_URL", f"http://app:{SECRET}@[customers"),
        ("OBJECTS_URL", f"s3://key:{SECRET}@bucket/prefix"),
        ("RECOMMEND_URL", f"https://h/d?token={SECRET}"),
        ("DVC_REMOTE", f"s3://key:{SECRET}@bucket"),
        ("KAFKA_OPTIONS", f"sasl.password={SECRET},a=b"),
        ("KAFKA_OPTIONS", f"ssl.key.password={SECRET},ab"),
    ],
)
def test_secret_of_any_setting_appears_in_no_message(name: str, value: str) -> None:
    """In the representation, and in the message of an invalid value."""
    try:
        shown = repr(Settings.from_mapping({f"MARQUEE_{name}": value}))
    except SettingsError as error:
        shown = str(error)
    assert name.lower() in shown.lower()
    assert SECRET not in shown
