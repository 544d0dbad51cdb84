"""Steps of the rating scale, of which the tables hold multiples."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC

import pytest
from tests.support.records import batch, rate, rows

from marquee.cli.main import main
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.db.user_history import user_history
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest.store import UNSTORABLE, write_batch


def test_migrate_sets_the_step_before_the_first_rating_only(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step of half stars is set once; with ratings in the table the command refuses another one."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", url)
    monkeypatch.setenv("MARQUEE_RATING_SCALE", "0.5-5")
    assert main(["db", "migrate"]) == 0
    assert "the step of ratings from 0.5-5" in capsys.readouterr().out
    assert main(["db", "migrate"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    with closing(Database(url)) as database:
        write_batch(database, batch([rate(7, 3.5)]), EventParser(UTC, LogScale(0.5, 5)))
        assert user_history(database, "7", None, 5_000).ratings[0].rating == 3.5
    assert migrate(url) == []
    monkeypatch.delenv("MARQUEE_RATING_SCALE")
    assert main(["db", "migrate"]) == 1
    assert "multiples of 0.5, MARQUEE_RATING_SCALE has steps of 1" in capsys.readouterr().err


def test_write_half_star_in_steps_of_one_is_quarantined(database: Database) -> None:
    """A half star in a database of whole stars is neither rounded nor lost."""
    write_batch(database, batch([rate(7, 3.5), rate(8, 4)]), EventParser(UTC, LogScale(0.5, 5)))
    assert rows(database, "SELECT rating FROM ratings") == [(4,)]
    ((category, detail),) = rows(database, "SELECT category, detail FROM quarantine")
    assert category == UNSTORABLE
    assert "3.5" in detail
