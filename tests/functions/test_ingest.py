"""The ``ingest`` function as a real functions-framework process, on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.functions.ingest import Function, push
from tests.support.records import MOVIE, account, ask, batch, rate, rows, watch

from marquee.db import record_counts
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie
from marquee.events.envelopes import encode_batch, to_http
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = pytest.mark.servers
LINES: list[str | bytes] = [
    watch(1, 0),
    watch(1, 1),
    rate(1, 4),
    ask(1, 200, MOVIE),
    account(2),
    "broken",
    b"\xff\x00",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A database server that the tests here may end and start again."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        migrate(server.url)
        yield server


@pytest.fixture(scope="module")
def function(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    function = Function(tmp_path_factory.mktemp("ingest") / "ingest.log", server.url)
    function.start()
    yield function
    function.process.stop()


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    """The function's database, emptied."""
    with closing(Database(server.url)) as database:
        with database.transaction() as cursor:
            cursor.execute(
                "TRUNCATE watches, ratings, recommendation_requests, accounts, quarantine, rejected_events, "
                "watch_sessions, written_offsets, impressions, topics"
            )
        yield database


def test_batch_is_written(function: Function, database: Database) -> None:
    headers, body = to_http(encode_batch(batch(LINES)))
    assert function.ask("POST", body, headers)[:2] == (204, "")
    counts = record_counts.count_records(database)
    assert (
        counts.by_table["watches"],
        counts.by_table["ratings"],
        counts.by_table["recommendation_requests"],
        counts.by_table["accounts"],
    ) == (2, 1, 1, 1)
    assert counts.quarantine_by_category == {"encoding": 1, "time": 1}


def test_every_way_of_delivery_is_understood(function: Function, database: Database) -> None:
    """Binary and structured CloudEvents and a Pub/Sub push say the same, so the lines are there once."""
    envelope = encode_batch(batch(LINES))
    headers, body = to_http(envelope)
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-")}
    structured_headers, structured = to_http(envelope, structured=True)
    assert function.post(body, headers) == 204
    assert function.post(structured, structured_headers) == 204
    assert function.post(push(body, attributes), {"Content-Type": "application/json"}) == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (len(LINES), 0)


def test_impressions_are_written(function: Function, database: Database) -> None:
    movie = ImpressionMovie(MOVIE, 1.0, 4.0, 1.0)
    shown = Impression("i1", datetime.now(UTC), "7", "blue", "v1", 1, "popular", (movie,))
    headers, body = to_http(encode_batch(ImpressionBatch("b1", (shown,))))
    assert [function.post(body, headers), function.post(body, headers)] == [204, 204]
    assert record_counts.count_records(database).impressions == 1


NOT_OURS: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty body": (b"", {}),
    "malformed JSON": (b'{"message": {', {"Content-Type": "application/json"}),
    "not JSON at all": (b"\xff\x00\x80", {"Content-Type": "application/octet-stream"}),
    "JSON of another kind": (b"[1, 2, 3]", {"Content-Type": "application/json"}),
    "push without data": (push(None, {"ce-type": "x"}), {"Content-Type": "application/json"}),
    "push without attributes": (push(b"{}", None), {"Content-Type": "application/json"}),
    "push of bad base64": (b'{"message": {"data": "%%%"}, "subscription": "s"}', {}),
    "deep nesting": (b"[" * 100_000, {"Content-Type": "application/json"}),
    "structured event without a type": (
        b'{"specversion": "1.0"}',
        {"Content-Type": "application/cloudevents+json"},
    ),
    # Found by `make fuzz`.
    "structured event whose type is an object": (
        b'{"specversion": "1.0", "id": "1", "type": {}, "source": "s", "time": "2026-02-14T00:00:00Z", "data": {}}',
        {"Content-Type": "application/cloudevents+json"},
    ),
    "structured event of malformed JSON": (b"{", {"Content-Type": "application/cloudevents+json"}),
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_what_is_not_ours_is_kept_and_acknowledged(function: Function, database: Database, what: str) -> None:
    """Sending it again cannot mend it: 204, and its bytes and the reason are kept once."""
    body, headers = NOT_OURS[what]
    headers = {**headers, "Authorization": "Bearer secret"}
    assert [function.post(body, headers), function.post(body, headers)] == [204, 204]
    ((reason, kept, kept_headers),) = rows(database, "SELECT reason, body, headers FROM rejected_events")
    assert reason
    assert bytes(kept) == body
    assert "secret" not in str(kept_headers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ce-type": "marquee.stream-batch.v9"}, "of type 'marquee.stream-batch.v9'"),
        ({"ce-specversion": "7"}, "not a CloudEvent"),
        ({"ce-time": "yesterday"}, "not a CloudEvent"),
    ],
)
def test_event_of_another_kind_is_kept(
    function: Function, database: Database, change: dict[str, str], reason: str
) -> None:
    headers, body = to_http(encode_batch(batch(LINES)))
    assert function.post(body, {**headers, **change}) == 204
    ((kept,),) = rows(database, "SELECT reason FROM rejected_events")
    assert reason in str(kept)


@pytest.mark.parametrize(
    "data",
    [
        {"topic": "t", "topic_id": "s", "partition": 0, "records": []},
        {
            "topic": "t",
            "topic_id": "s",
            "partition": 2**31,
            "records": [{"offset": 1, "timestamp_ms": 1, "text": ""}],
        },
        {
            "topic": "t",
            "topic_id": "s",
            "partition": 0,
            "records": [{"offset": 2**63, "timestamp_ms": 1, "text": ""}],
        },
        {
            "topic": "t",
            "topic_id": "s",
            "partition": 0,
            "records": [{"offset": 1, "timestamp_ms": 10**18, "text": ""}],
        },
        {
            "topic": "t\0",
            "topic_id": "s",
            "partition": 0,
            "records": [{"offset": 1, "timestamp_ms": 1, "text": ""}],
        },
        {
            "topic": "t",
            "topic_id": "s" * 300,
            "partition": 0,
            "records": [{"offset": 1, "timestamp_ms": 1, "text": ""}],
        },
        {"topic": "t", "topic_id": "s", "partition": 0, "records": [{"offset": 1, "timestamp_ms": 1}]},
        {
            "topic": "t",
            "topic_id": "s",
            "partition": 0,
            "records": [{"offset": 10**400, "timestamp_ms": 1, "text": ""}],
        },
    ],
)
def test_batch_that_no_table_can_hold_is_kept(function: Function, database: Database, data: object) -> None:
    headers, _ = to_http(encode_batch(batch(LINES)))
    body = json.dumps(data).encode()
    assert function.post(body, headers) == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (0, 1)


@pytest.mark.parametrize(
    "change", [{"id": "a\0b"}, {"release": 2**40}, {"user_id": "7" * 3_000}, {"movies": [{"movie_id": "\0"}]}]
)
def test_impressions_that_no_table_can_hold_are_kept(
    function: Function, database: Database, change: dict[str, object]
) -> None:
    shown = Impression("i1", datetime.now(UTC), "7", "blue", "v1", 1, "popular", ())
    headers, body = to_http(encode_batch(ImpressionBatch("b1", (shown,))))
    data = json.loads(body)
    data["impressions"][0] |= change
    assert function.post(json.dumps(data).encode(), headers) == 204
    assert record_counts.count_records(database).rejected_events == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_with_a_sentence(function: Function, method: str) -> None:
    status, text, headers = function.ask(method)
    assert (status, headers["Allow"]) == (405, "POST")
    assert text == f"{method} is not supported: POST a CloudEvent or a Pub/Sub push.\n"


def test_database_killed_and_back(function: Function, database: Database, server: EmbeddedPostgres) -> None:
    """503 while it is away; after its restart the redelivery succeeds, and nothing is doubled or lost."""
    first, second = to_http(encode_batch(batch(LINES))), to_http(encode_batch(batch(LINES, first=len(LINES))))
    assert function.post(first[1], first[0]) == 204
    server.kill()
    status, text, headers = function.ask("POST", second[1], second[0])
    assert (status, headers["Retry-After"]) == (503, "1")
    assert text == "The database is unavailable: send it again.\n"
    assert function.post(b"not ours") == 503  # It cannot be kept now, so it may not be acknowledged.
    server.start()
    assert [function.post(body, head) for head, body in (first, second, second)] == [204, 204, 204]
    assert function.post(b"not ours") == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (2 * len(LINES), 1)
    assert counts == record_counts.count_all(database)


def test_deliveries_at_once_are_written_once(function: Function, database: Database) -> None:
    """The same overlapping batches from eight clients at a time."""
    lines = LINES * 10
    events = [to_http(encode_batch(batch(lines[first : first + 9], first))) for first in range(0, 70, 5)]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.extend(function.post(body, head) for head, body in events))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [204] * (8 * len(events))
    assert (
        record_counts.count_records(database).records
        == record_counts.count_all(database).records
        == len(lines)
    )


def test_database_without_tables_is_no_reason_to_lose_a_batch(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Until somebody migrates it the answer is 503, and the log says what to do."""
    function = Function(tmp_path / "ingest.log", server.create_database("unmigrated"))
    function.start()
    try:
        headers, body = to_http(encode_batch(batch(LINES)))
        assert function.post(body, headers) == 503
        migrate(server.database_url("unmigrated"))
        assert function.post(body, headers) == 204
    finally:
        function.process.stop()
    assert "marquee migrate" in (tmp_path / "ingest.log").read_text()


def test_push_needs_a_token_where_one_is_asked_for(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """401 without, 204 with; nothing of a refused one is written, and no token, body or password is logged."""
    from tests.servers.issuer import ACCOUNT, AUDIENCE, Issuer, Key

    key = Key("k")
    issuer = Issuer(key)
    url = server.create_database("guarded").replace("app@", "app:pass-word@")
    migrate(url)
    settings = {"PUSH_AUDIENCE": AUDIENCE, "PUSH_SERVICE_ACCOUNT": ACCOUNT}
    function = Function(tmp_path / "ingest.log", url, issuer.url, **settings)
    function.start()
    headers, body = to_http(encode_batch(batch(LINES)))
    good, bad = key.token(), key.token(aud="https://other.example.edu")
    try:
        assert function.post(body, headers) == 401
        assert function.post(body, {**headers, "Authorization": f"Bearer {bad}"}) == 401
        assert function.post(body, {**headers, "Authorization": f"Bearer {good}"}) == 204
        assert function.ask("GET", path="/healthz")[0] == 200
        server.kill()
        assert function.post(body, {**headers, "Authorization": f"Bearer {good}"}) == 503
    finally:
        server.start()
        function.process.stop()
        issuer.close()
    with closing(Database(url)) as database:
        assert record_counts.count_records(database).records == len(LINES)
    log = (tmp_path / "ingest.log").read_text()
    for secret in (good, bad, "pass-word", "eyJ"):
        assert secret not in log
