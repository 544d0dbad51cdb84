"""Tests of the impressions that the ``recommend`` function sends, and of receivers that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.functions.conftest import Start
from tests.servers.receiver import Receiver
from tests.serving.models import release_model

from marquee.events.batches import Impression, ImpressionBatch
from marquee.events.envelopes import open_envelope
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
