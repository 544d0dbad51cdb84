"""``marquee privacy``: from the command line to a receipt that verifies, and mistakes with their reasons."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.records import batch, rate, rows, watch

from marquee.cli.main import main
from marquee.db.pool import Database
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch

KEY = "k" * 32


@pytest.fixture
def database(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return a database with records of two users, which the environment names together with a key and a store."""
    from zoneinfo import ZoneInfo

    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path}/objects")
    monkeypatch.setenv("MARQUEE_PRIVACY_KEY", KEY)
    database = Database(database_url)
    write_batch(database, batch([watch(42, 1), rate(42, 5), rate(7, 4)]), EventParser(ZoneInfo("UTC")))
    return database


@pytest.mark.servers
def test_privacy_forget_prints_a_receipt_that_verifies(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Export, mark, resume, receipt, public key and verification work as the page says."""
    with closing(database):
        assert main(["privacy", "export", "42"]) == 0
        exported = json.loads(capsys.readouterr().out)
        assert [row["rating"] for row in exported["tables"]["ratings"]] == [5]
        assert main(["privacy", "forget", "42", "--mark-only"]) == 0
        assert main(["privacy", "status"]) == 0
        assert "marked" in capsys.readouterr().out
        assert main(["privacy", "resume"]) == 0
        receipt = tmp_path / "receipt.json"
        receipt.write_text(capsys.readouterr().out)
        assert main(["privacy", "receipt", "42"]) == 0
        assert capsys.readouterr().out == receipt.read_text()
        assert main(["privacy", "public-key"]) == 0
        public = capsys.readouterr().out.strip()
        assert main(["privacy", "verify", str(receipt), "--public-key", public]) == 0
        assert "valid" in capsys.readouterr().out
        assert main(["privacy", "verify", str(receipt), "--public-key", "ab" * 32]) == 1
        assert rows(database, "SELECT user_id FROM ratings") == [("7",)]


@pytest.mark.servers
def test_privacy_pseudonymize_replaces_ids_that_commands_still_take(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows hold pseudonyms, export finds them by the id, and a second run has nothing to replace."""
    with closing(database):
        assert main(["privacy", "pseudonymize"]) == 0
        assert "replaced user ids in 10 rows of 5 tables" in capsys.readouterr().out
        assert {user[0] for (user,) in rows(database, "SELECT user_id FROM ratings")} == {"~"}
        assert main(["privacy", "export", "42"]) == 0
        exported = json.loads(capsys.readouterr().out)
        assert [row["rating"] for row in exported["tables"]["ratings"]] == [5]
        assert exported["stored_id"] == exported["tables"]["ratings"][0]["user_id"]
        assert main(["privacy", "pseudonymize"]) == 0
        assert "in 0 rows" in capsys.readouterr().out


@pytest.mark.servers
def test_privacy_profile_marks_an_account_and_removes_the_mark(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """``off`` makes a mark, ``on`` removes it; the rows stay."""
    with closing(database):
        assert main(["privacy", "profile", "42", "off"]) == 0
        assert rows(database, "SELECT mark FROM privacy_marks") == [("not-profiled",)]
        assert main(["privacy", "profile", "42", "on"]) == 0
        assert rows(database, "SELECT mark FROM privacy_marks") == []
        assert rows(database, "SELECT count(*) FROM ratings") == [(2,)]
    assert "profiling of the user is on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["privacy", "forget", "a/b"], "is not a user id"),
        (["privacy", "receipt", "42"], "no finished request"),
        (["privacy", "verify", "/nonexistent"], "cannot be read"),
    ],
)
@pytest.mark.servers
def test_privacy_mistake_names_its_reason(
    database: Database, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong id, a receipt that does not exist and a missing file are errors in one sentence."""
    with closing(database):
        assert main(words) == 1
    assert reason in capsys.readouterr().err


def test_privacy_without_key_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the secret no user can be marked."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    assert main(["privacy", "forget", "42"]) == 1
    assert "MARQUEE_PRIVACY_KEY is not set" in capsys.readouterr().err
