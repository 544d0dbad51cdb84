"""A job reads the secrets that ``MARQUEE_SECRETS`` names into its environment."""

from __future__ import annotations

import base64

import msgspec
import pytest

from marquee.config.secret_variables import read_secret_variables
from marquee.errors import SettingsError

VERSION = "projects/p/secrets/database-url/versions/3"
ENVIRONMENT = {"MARQUEE_SECRETS": msgspec.json.encode({"MARQUEE_DATABASE_URL": VERSION}).decode()}


def test_read_secret_variables_returns_the_payload() -> None:
    """The version that is named is read from Secret Manager's API, and decoded."""
    asked = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return msgspec.json.encode({"payload": {"data": base64.b64encode("pässword".encode()).decode()}})

    assert read_secret_variables(ENVIRONMENT, fetch) == {"MARQUEE_DATABASE_URL": "pässword"}
    assert asked == [f"https://secretmanager.googleapis.com/v1/{VERSION}:access"]
    assert read_secret_variables({}, fetch) == {}


def test_read_secret_variables_refused_names_the_role() -> None:
    """The error names the secret and what the account lacks, and not the value of any."""

    def refuse(url: str) -> bytes:
        raise OSError("403 Forbidden")

    with pytest.raises(SettingsError, match=r"database-url/versions/3 of MARQUEE_DATABASE_URL cannot .*secretAccessor"):
        read_secret_variables(ENVIRONMENT, refuse)


def test_read_secret_variables_other_json_is_refused() -> None:
    """The error shows the form."""
    with pytest.raises(SettingsError, match="must be a JSON object of variables"):
        read_secret_variables({"MARQUEE_SECRETS": "[1]"}, lambda url: b"")
