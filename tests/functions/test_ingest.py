"""Tests of the ``ingest`` function as a real functions-framework process, on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.functions.ingest import IngestProcess, make_push_body
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
    """A database server that the tests may stop and start again."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        migrate(server.url)
        yield server


@pytest.fixture(scope="module")
def function(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    function = IngestProcess(tmp_path_factory.mktemp("ingest") / "ingest.log", server.url)
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


def test_ingest_batch_is_written(function: IngestProcess, database: Database) -> None:
    """Records of each kind, and two quarantined ones."""
    headers, body = to_http(encode_batch(batch(LINES)))
    assert function.request("POST", body, headers)[:2] == (204, "")
    counts = record_counts.count_records(database)
    assert (
        counts.by_table["watches"],
        counts.by_table["ratings"],
        counts.by_table["recommendation_requests"],
        counts.by_table["accounts"],
    ) == (2, 1, 1, 1)
    assert counts.quarantine_by_category == {"encoding": 1, "time": 1}


def test_ingest_accepts_every_way_of_delivery(function: IngestProcess, database: Database) -> None:
    """Binary and structured CloudEvents and a Pub/Sub push are equivalent, so the records are there once."""
    envelope = encode_batch(batch(LINES))
    headers, body = to_http(envelope)
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-")}
    structured_headers, structured = to_http(envelope, structured=True)
    assert function.post(body, headers) == 204
    assert function.post(structured, structured_headers) == 204
    assert function.post(make_push_body(body, attributes), {"Content-Type": "application/json"}) == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (len(LINES), 0)


def test_ingest_impressions_are_written_once(function: IngestProcess, database: Database) -> None:
    """A repeated delivery changes nothing."""
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
    "push without data": (make_push_body(None, {"ce-type": "x"}), {"Content-Type": "application/json"}),
    "push without attributes": (make_push_body(b"{}", None), {"Content-Type": "application/json"}),
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
def test_ingest_foreign_delivery_is_stored_and_acknowledged(
    function: IngestProcess, database: Database, what: str
) -> None:
    """A redelivery cannot help: 204, and its bytes and the reason are stored once."""
    body, headers = NOT_OURS[what]
    headers = {**headers, "Authorization": "Bearer secret"}
    assert [function.post(body, headers), function.post(body, headers)] == [204, 204]
    ((reason, kept, size, kept_headers),) = rows(
        database, "SELECT reason, body, body_bytes, headers FROM rejected_events"
    )
    assert reason
    assert (bytes(kept), size) == (body[:65_536], len(body))
    assert "secret" not in str(kept_headers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ce-type": "marquee.stream-batch.v9"}, "of type 'marquee.stream-batch.v9'"),
        ({"ce-specversion": "7"}, "not a CloudEvent"),
        ({"ce-time": "yesterday"}, "not a CloudEvent"),
    ],
)
def test_ingest_unknown_event_type_is_stored(
    function: IngestProcess, database: Database, change: dict[str, str], reason: str
) -> None:
    """The reason names the attribute."""
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
            "records": [{"offset": 2**62, "timestamp_ms": 1, "text": ""}],
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
def test_ingest_batch_out_of_range_is_stored_as_rejected(
    function: IngestProcess, database: Database, data: object
) -> None:
    """No record of it is written."""
    headers, _ = to_http(encode_batch(batch(LINES)))
    body = json.dumps(data).encode()
    assert function.post(body, headers) == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (0, 1)


@pytest.mark.parametrize(
    "change", [{"id": "a\0b"}, {"release": 2**40}, {"user_id": "7" * 3_000}, {"movies": [{"movie_id": "\0"}]}]
)
def test_ingest_impressions_out_of_range_are_stored_as_rejected(
    function: IngestProcess, database: Database, change: dict[str, object]
) -> None:
    """Values that no column can hold."""
    shown = Impression("i1", datetime.now(UTC), "7", "blue", "v1", 1, "popular", ())
    headers, body = to_http(encode_batch(ImpressionBatch("b1", (shown,))))
    data = json.loads(body)
    data["impressions"][0] |= change
    assert function.post(json.dumps(data).encode(), headers) == 204
    assert record_counts.count_records(database).rejected_events == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_ingest_other_method_is_405(function: IngestProcess, method: str) -> None:
    """The body says what to do."""
    status, text, headers = function.request(method)
    assert (status, headers["Allow"]) == (405, "POST")
    assert text == f"{method} is not supported: POST a CloudEvent or a Pub/Sub push.\n"


def test_ingest_database_killed_is_503_until_it_is_back(
    function: IngestProcess, database: Database, server: EmbeddedPostgres
) -> None:
    """After the restart a redelivery succeeds, and nothing is doubled or lost."""
    first, second = to_http(encode_batch(batch(LINES))), to_http(encode_batch(batch(LINES, first=len(LINES))))
    assert function.post(first[1], first[0]) == 204
    server.kill()
    status, text, headers = function.request("POST", second[1], second[0])
    assert (status, headers["Retry-After"]) == (503, "1")
    assert text == "The database is unavailable: send it again.\n"
    assert function.post(b"not ours") == 503  # It cannot be stored now, so it must not be acknowledged.
    server.start()
    assert [function.post(body, head) for head, body in (first, second, second)] == [204, 204, 204]
    assert function.post(b"not ours") == 204
    counts = record_counts.count_records(database)
    assert (counts.records, counts.rejected_events) == (2 * len(LINES), 1)
    assert counts == record_counts.count_all(database)


def test_ingest_concurrent_overlapping_batches_are_written_once(function: IngestProcess, database: Database) -> None:
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
    assert record_counts.count_records(database).records == record_counts.count_all(database).records == len(lines)


def test_ingest_database_without_tables_is_503(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Until the migration the batch is redelivered, and the log says what to do."""
    function = IngestProcess(tmp_path / "ingest.log", server.create_database("unmigrated"))
    function.start()
    try:
        headers, body = to_http(encode_batch(batch(LINES)))
        assert function.post(body, headers) == 503
        migrate(server.database_url("unmigrated"))
        assert function.post(body, headers) == 204
    finally:
        function.process.stop()
    assert "marquee migrate" in (tmp_path / "ingest.log").read_text()


def test_ingest_push_without_valid_token_is_401(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """204 with a valid one; nothing of a refused push is written, and no token, body or password is logged."""
    from tests.servers.issuer import ACCOUNT, AUDIENCE, Issuer, Key

    key = Key("k")
    issuer = Issuer(key)
    url = server.create_database("guarded").replace("app@", f"app:{server.app_password}@")
    migrate(url)
    settings = {"PUSH_IDENTITY": f"{ACCOUNT}={AUDIENCE}"}
    function = IngestProcess(tmp_path / "ingest.log", url, issuer.url, **settings)
    function.start()
    headers, body = to_http(encode_batch(batch(LINES)))
    good, bad = key.token(), key.token(aud="https://other.example.edu")
    try:
        assert function.post(body, headers) == 401
        assert function.post(body, {**headers, "Authorization": f"Bearer {bad}"}) == 401
        assert function.post(body, {**headers, "Authorization": f"Bearer {good}"}) == 204
        assert function.request("GET", path="/healthz")[0] == 200
        server.kill()
        assert function.post(body, {**headers, "Authorization": f"Bearer {good}"}) == 503
    finally:
        server.start()
        function.process.stop()
        issuer.close()
    with closing(Database(url)) as database:
        assert record_counts.count_records(database).records == len(LINES)
    log = (tmp_path / "ingest.log").read_text()
    for secret in (good, bad, server.app_password, "eyJ"):
        assert secret not in log


def test_ingest_body_over_the_limit_is_413(function: IngestProcess, database: Database) -> None:
    """Nothing of it is stored."""
    status, text, _ = function.request("POST", bytes(16 * 2**20 + 1), {"Content-Type": "application/json"})
    assert status == 413
    assert "more than 16777216 bytes" in text
    assert record_counts.count_records(database).rejected_events == 0
