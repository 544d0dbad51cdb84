"""The impressions that the ``recommend`` function tells of, and a receiver that is not felt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.functions.conftest import Start
from tests.servers.receiver import Receiver
from tests.serving.models import released

from marquee.events.batches import Impression, ImpressionBatch
from marquee.events.envelopes import open_envelope
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as receiver:
        yield receiver


def impressions(receiver: Receiver) -> list[Impression]:
    batches = [open_envelope(envelope) for envelope in receiver.accepted]
    return [i for batch in batches if isinstance(batch, ImpressionBatch) for i in batch.impressions]


def test_impressions_arrive_as_they_were_served_from_every_worker(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    version = released(store)
    function = start(delivery_url=receiver.url, WORKERS="2")
    served = [function.get(f"/recommend/{1000 + n % 8}") for n in range(40)]
    receiver.wait_for(lambda: len(impressions(receiver)) >= 40)
    told = {i.id: i for i in impressions(receiver)}
    assert len(told) == 40
    for reply in served:
        impression = told[reply.headers["Marquee-Recommendation-Id"]]
        assert [movie.movie_id for movie in impression.movies] == reply.movies
        assert (impression.model_version, impression.release) == (version, 1)
        assert impression.tier == reply.headers["Marquee-Tier"]


def test_a_receiver_that_hangs_or_is_gone_is_not_felt(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    """The first impressions hang in the receiver while answers go on; then it is gone for good."""
    released(store)
    receiver.hold.clear()
    function = start(delivery_url=receiver.url)
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}
    receiver.wait_for(lambda: receiver.under_way > 0)
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}
    receiver.close()
    assert {function.get("/recommend/1000").status for _ in range(20)} == {200}


def test_sigterm_ends_it_gracefully_and_what_was_served_is_told(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    """Impressions that still waited for their batch go out before the process ends, with code 0."""
    released(store)
    function = start(delivery_url=receiver.url)
    function.get("/readyz")
    ids = {function.get("/recommend/1000").headers["Marquee-Recommendation-Id"] for _ in range(25)}
    function.process.stop(grace_s=20)
    assert function.process.returncode == 0
    assert {impression.id for impression in impressions(receiver)} == ids


def test_sigterm_does_not_wait_for_a_receiver_that_hangs(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    released(store)
    receiver.hold.clear()
    function = start(delivery_url=receiver.url)
    function.get("/recommend/1000")
    receiver.wait_for(lambda: receiver.under_way > 0)
    function.process.stop(grace_s=25)
    assert function.process.returncode == 0
