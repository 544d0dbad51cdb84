"""``marquee db migrate`` with a MongoDB."""

from __future__ import annotations

import pytest

from marquee.app.documents import Documents
from marquee.cli.main import main

pytestmark = pytest.mark.servers


def test_migrate_twice_makes_the_collections_once(
    database_url: str,
    empty_documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first run names the collections, and the second one has nothing to do; another retention is one change."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_DOCUMENTS_URL", empty_documents.url)
    assert main(["db", "migrate"]) == 0
    assert "applied collection events" in capsys.readouterr().out
    assert main(["db", "migrate"]) == 0
    assert capsys.readouterr().out.startswith("nothing to do")
    monkeypatch.setenv("MARQUEE_RETENTION_DAYS", "30")
    assert main(["db", "migrate"]) == 0
    assert capsys.readouterr().out == "applied index expiry of events\n"
