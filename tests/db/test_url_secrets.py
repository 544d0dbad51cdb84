"""Tests that the password of the database's URL appears in no message, whatever the form of the URL."""

from __future__ import annotations

import traceback
from contextlib import closing, suppress

import pytest

from marquee.cli.main import main
from marquee.config.masking import mask_password
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, SettingsError

SECRET = "s3cr3tX"
URLS = {
    "slash": f"postgresql://app:{SECRET}/tail@127.0.0.1:1/marquee",
    "slash first": f"postgresql://app:/{SECRET}@127.0.0.1:1/marquee",
    "hash": f"postgresql://app:{SECRET}#tail@127.0.0.1:1/marquee",
    "question": f"postgresql://app:{SECRET}?tail@127.0.0.1:1/marquee",
    "question and equals": f"postgresql://app:a?b={SECRET}@127.0.0.1:1/marquee",
    "query": f"postgresql://127.0.0.1:1/marquee?user=app&password={SECRET}",
    "query with at": f"postgresql://127.0.0.1:1/marquee?user=a@b&password=x@{SECRET}",
    "query with amp": f"postgresql://127.0.0.1:1/marquee?password=a&{SECRET}",
    "query first": f"postgresql://127.0.0.1:1/marquee?password={SECRET}&sslmode=disable",
    "query encoded name": f"postgresql://127.0.0.1:1/marquee?p%61ssword={SECRET}",
    "percent": f"postgresql://app:{SECRET}%zz@127.0.0.1:1/marquee",
    "percent in query": f"postgresql://127.0.0.1:1/marquee?password={SECRET}%zz",
    "bracket": f"postgresql://app:{SECRET}]@127.0.0.1:1/marquee",
    "bracket first": f"postgresql://app:[{SECRET}@127.0.0.1:1/marquee",
    "at": f"postgresql://app:x@{SECRET}@127.0.0.1:1/marquee",
    "at before": f"postgresql://app:{SECRET}@x@127.0.0.1:1/marquee",
    "colon": f"postgresql://app:a:{SECRET}@127.0.0.1:1/marquee",
    "no host": f"postgresql://app:{SECRET}",
    "no at": f"postgresql://app:{SECRET}/marquee",
    "plain": f"postgresql://app:{SECRET}@127.0.0.1:1/marquee",
    "encoded": f"postgresql://app:{SECRET}%2Ftail@127.0.0.1:1/marquee",
    "blank": f"postgresql://app:{SECRET} x@127.0.0.1:1/marquee",
    "sslpassword": f"postgresql://app@127.0.0.1:1/marquee?sslpassword={SECRET}",
    "hosts": f"postgresql://app:{SECRET}@127.0.0.1:1,127.0.0.1:2/marquee",
    "no user": f"postgresql://:{SECRET}@127.0.0.1:1/marquee",
    "postgres": f"postgres://app:{SECRET}@127.0.0.1:1/marquee",
    "other scheme": f"postgresql+psycopg2://app:{SECRET}@127.0.0.1:1/marquee",
    "jdbc": f"jdbc:postgresql://127.0.0.1:1/marquee?user=app&password={SECRET}",
    "key=value": f"host=127.0.0.1 port=1 user=app password={SECRET}",
}


@pytest.mark.parametrize("name", URLS)
def test_database_url_password_appears_in_no_message(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the form of the URL: no message of ours or of libpq shows it, and there is no traceback."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", URLS[name])
    assert main(["migrate"]) == 1
    assert SECRET not in "".join(capfd.readouterr())
    assert SECRET not in mask_password(URLS[name])
    assert SECRET not in repr(Settings(database_url=URLS[name]))
    with suppress(DatabaseUnavailable, SettingsError), closing(Database(URLS[name])) as database:
        assert SECRET not in repr(database)
        with pytest.raises(DatabaseUnavailable) as caught:
            database.read("SELECT 1", deadline_ms=200)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
