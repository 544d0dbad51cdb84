"""Tests of the ``events`` function as a real functions-framework process, on the wire."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.events.json_examples import EXAMPLES, make_event, rating
from tests.servers.function import Function, Reply
from tests.support.records import rows

from marquee.config.api_keys import create_key
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.json_records import event_schema
from marquee.ingest.events_http import MAX_EVENTS, MAX_EVENTS_BYTES
from marquee.ingest.http_events import RefusedEvent

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """A key that may write, and the setting with its entry."""
    text, entry = create_key("shop", ["write"])
    return text, str(entry)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[object]:
    """Return a function that starts ``events`` on an empty database; settings are keyword arguments."""
    started: list[Function] = []

    def make(**settings: str) -> Function:
        env = {"MARQUEE_DATABASE_URL": database_url}
        env |= {f"MARQUEE_{name.upper()}": value for name, value in settings.items()}
        started.append(Function("events", tmp_path, env))
        return started[-1].__enter__()

    yield make
    for function in started:
        function.__exit__()


def post(function: Function, body: object, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return function.get("/events", "POST", content, **headers)


def test_events_function_answers_every_request(start, database_url: str) -> None:  # type: ignore[no-untyped-def]
    """202 says what was accepted, repeated and refused; other requests get a sentence that says what is valid."""
    function = start()
    events = [json.loads(text) for text in EXAMPLES]
    reply = post(function, events)
    assert (reply.status, reply.document) == (202, {"accepted": 6, "repeated": 0, "refused": []})
    reply = post(function, [*events, json.loads(rating("bad", rating=7))])
    assert (reply.document["accepted"], reply.document["repeated"]) == (0, 6)
    (refused,) = msgspec.convert(reply.document["refused"], list[RefusedEvent])
    assert (refused.index, refused.id, refused.category) == (6, "bad", "rating")
    assert post(function, events[0]).document == {"accepted": 0, "repeated": 1, "refused": []}
    assert function.get("/events/schema").document == event_schema()
    assert function.get("/healthz").body == b"ok\n"
    for body, status, sentence in (
        (b"{", 400, "The body is not one event, or a list of 1 to 1000 events, as JSON"),
        (b"", 400, "The body is empty; it should be one event"),
        (b'[{"id": "\xff"}]', 400, "The body is not"),
        (b"[]", 400, "The body has 0 events"),
        (b"[" + b"1," * MAX_EVENTS + b"1]", 400, "The body has 1001 events"),
        (b" " * (MAX_EVENTS_BYTES + 1), 413, "The body has more than 4194304 bytes"),
    ):
        reply = post(function, body)
        assert (reply.status, reply.body.decode()[: len(sentence)]) == (status, sentence)
    chunked = function.get("/events", "POST", iter([b" " * 2**20] * 5))
    assert (chunked.status, chunked.body[:27]) == (413, b"The body has more than 4194")
    assert function.get("/events").headers["Allow"] == "POST"
    assert function.get("/other").status == 404
    with closing(Database(database_url)) as database:
        counts = record_counts.count_records(database)
    assert (counts.records, counts.quarantined) == (7, 1)


def test_events_function_with_keys_admits_writers_only(start, key: tuple[str, str], database_url: str) -> None:  # type: ignore[no-untyped-def]
    """Without a valid key 401, with a reader's 403, beyond the rate 429; the key's name is the source."""
    reader, entry = create_key("reader", ["read"])
    function = start(api_keys=f"{key[1]},{entry}", requests_per_s="2")
    event = json.loads(rating("a"))
    assert post(function, event).status == 401
    assert post(function, event, **{"Marquee-Key": key[0] + "x"}).status == 401
    assert post(function, event, **{"Marquee-Key": reader}).status == 403
    replies = [post(function, event, Authorization=f"Bearer {key[0]}") for _ in range(5)]
    assert replies[0].status == 202
    assert replies[-1].status == 429
    assert int(replies[-1].headers["Retry-After"]) >= 1
    with closing(Database(database_url)) as database:
        assert rows(database, "SELECT topic FROM topics") == [("http/shop",)]


def test_events_function_killed_at_random_stores_each_event_once(start, database_url: str) -> None:  # type: ignore[no-untyped-def]
    """Clients repeat every batch until it is accepted, some again, while the function is killed: exactly once."""
    function, rng = start(), random.Random(7)
    events = [
        make_event("watch", f"e{n}", str(n % 9), movie_id="up+2009", minute=n)
        if n % 3
        else rating(f"e{n}", rating=9 if n % 30 == 0 else 3)
        for n in range(900)
    ]
    batches = [events[first : first + 30] for first in range(0, 900, 30)]
    done = threading.Event()

    def send(own: list[list[str]]) -> None:
        for batch in [*own, *rng.sample(own, 3)]:
            body = f"[{','.join(batch)}]".encode()
            while not done.is_set():
                try:
                    if post(function, body).status == 202:
                        break
                except (OSError, http.client.HTTPException):
                    done.wait(0.02)

    senders = [threading.Thread(target=send, args=(batches[number::3],)) for number in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(3):
        done.wait(rng.uniform(0.05, 0.3))
        function.process.kill()
        function.process.stop()
        function.__enter__()
    for sender in senders:
        sender.join(60)
    done.set()
    with closing(Database(database_url)) as database:
        counts = record_counts.count_records(database)
        assert counts.by_table == {
            **dict.fromkeys(counts.by_table, 0),
            "watches": 600,
            "ratings": 270,
            "quarantine": 30,
        }
        assert record_counts.count_all(database) == counts
        assert rows(database, "SELECT count(DISTINCT minute) FROM watches") == [(600,)]
        assert rows(database, "SELECT min(first_minute), max(last_minute) FROM watch_sessions") == [(1, 899)]
