"""Tests of the impressions that the ``recommend`` function sends, and of receivers that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from tests.functions.conftest import Start
from tests.servers.receiver import Receiver
from tests.serving.models import catalog_model, release_model, store_model
from tests.support.records import rows

from marquee.cli.main import main
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch
from marquee.events.envelopes import open_envelope
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start as start_experiment
from marquee.ingest.store import write_impressions
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as receiver:
        yield receiver


def list_impressions(receiver: Receiver) -> list[Impression]:
    """Return the accepted impressions."""
    batches = [open_envelope(envelope) for envelope in receiver.accepted]
    return [i for batch in batches if isinstance(batch, ImpressionBatch) for i in batch.impressions]


def test_recommend_impressions_equal_the_served_lists(store: FileStore, start: Start, receiver: Receiver) -> None:
    """Impressions of both workers arrive."""
    version = release_model(store)
    function = start(delivery_url=receiver.url, WORKERS="2")
    served = [function.get(f"/recommend/{1000 + n % 8}") for n in range(40)]
    receiver.wait_for(lambda: len(list_impressions(receiver)) >= 40)
    impressions_by_id = {i.id: i for i in list_impressions(receiver)}
    assert len(impressions_by_id) == 40
    for reply in served:
        impression = impressions_by_id[reply.headers["Marquee-Recommendation-Id"]]
        assert [movie.movie_id for movie in impression.movies] == reply.movies
        assert (impression.model_version, impression.release) == (version, 1)
        assert impression.tier == reply.headers["Marquee-Tier"]


def test_recommend_interleaved_lists_are_stored_with_teams_and_made_again(
    store: FileStore,
    start: Start,
    receiver: Receiver,
    postgres_database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By HTTP, both workers draft from two models; `marquee replay` makes each stored list again."""
    release_model(store, catalog_model())
    new = store_model(store, catalog_model(seed=2), datetime(2026, 3, 2, tzinfo=UTC))
    fields = {"kind": "interleaving", "arms": {"control": "", "new": new}, "ladder": [0.5]}
    start_experiment(store, parse_declaration("draft", fields), author="test")
    function = start(delivery_url=receiver.url, WORKERS="2")
    served = [function.get(f"/recommend/{1000 + n % 12}") for n in range(24)]
    receiver.wait_for(lambda: len(list_impressions(receiver)) >= 24)
    write_impressions(postgres_database, ImpressionBatch("all", tuple(list_impressions(receiver))))
    shown = rows(
        postgres_database, "SELECT id, array_agg(movie_id ORDER BY position) FROM impression_movies GROUP BY id"
    )
    assert dict(shown) == {reply.headers["Marquee-Recommendation-Id"]: reply.movies for reply in served}
    teams = rows(postgres_database, "SELECT id, team, count(*) FROM impression_movies GROUP BY id, team")
    assert sorted({(team, count) for _, team, count in teams}) == [(0, 10), (1, 10)]
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", store.root.as_uri())
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    assert main(["replay", "--last", "24"]) == 0
    assert "24 of 24 lists are equal" in capsys.readouterr().out
    assert main(["replay", served[0].headers["Marquee-Recommendation-Id"]]) == 0
    assert "interleaved" in capsys.readouterr().out


def test_recommend_hanging_or_missing_receiver_fails_no_request(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    """The first impressions hang in the receiver while requests are answered; then the receiver is closed."""
    release_model(store)
    receiver.hold.clear()
    function = start(delivery_url=receiver.url)
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}
    receiver.wait_for(lambda: receiver.in_flight > 0)
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}
    receiver.close()
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}


def test_recommend_sigterm_sends_the_queued_impressions(store: FileStore, start: Start, receiver: Receiver) -> None:
    """Impressions that wait for their batch go out before the process ends, with code 0."""
    release_model(store)
    function = start(delivery_url=receiver.url)
    function.get("/readyz")
    ids = {function.get("/recommend/1000").headers["Marquee-Recommendation-Id"] for _ in range(25)}
    function.process.stop(grace_s=20)
    assert function.process.returncode == 0
    assert {impression.id for impression in list_impressions(receiver)} == ids


def test_recommend_sigterm_with_hanging_receiver_ends(store: FileStore, start: Start, receiver: Receiver) -> None:
    """The process ends in time, with code 0."""
    release_model(store)
    receiver.hold.clear()
    function = start(delivery_url=receiver.url)
    function.get("/recommend/1000")
    receiver.wait_for(lambda: receiver.in_flight > 0)
    function.process.stop(grace_s=25)
    assert function.process.returncode == 0
