"""Analytics events over HTTP: consent, loss, doubles, clocks, limits, and bodies that are wrong."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.app.visit import App, Visit

from marquee.app.app_events import AppEvent, decode_batch, store_batch
from marquee.app.documents import Documents
from marquee.app.write_limits import BATCHES
from marquee.errors import DocumentsRefused

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def make_batch(*events: dict[str, Any], sent: datetime = NOW, app: str = "browser") -> bytes:
    return json.dumps({"sent": sent.isoformat(), "app": app, "events": events}).encode()


def make_event(**changed: Any) -> dict[str, Any]:
    known = {"id": str(uuid.uuid4()), "session": str(uuid.uuid4()), "seq": 1, "name": "searched", "at": NOW.isoformat()}
    return known | changed


def test_events_without_consent_are_refused(app: App) -> None:
    """Neither before the answer nor after a no is anything stored."""
    for visitor in (Visit(app), Visit(app, consent=False)):
        visitor.open("/you")
        assert visitor.send(visitor.event()).status == 403
        assert app.count("events", user_id=visitor.user_id) == 0


def test_events_are_deleted_when_consent_is_withdrawn(app: App) -> None:
    """No deletes what yes allowed."""
    visitor = Visit(app, consent=True)
    visitor.open("/you")
    assert visitor.send(visitor.event(), visitor.event()).document == {"kept": 2, "known": 0, "refused": []}
    visitor.post("/you/consent", analytics=0)
    assert app.count("events", user_id=visitor.user_id) == 0


def test_events_sent_twice_count_once(app: App) -> None:
    """A repeated batch, whole or in part, adds only what is new."""
    visitor = Visit(app, consent=True)
    first, second = visitor.event(), visitor.event()
    assert visitor.send(first).document == {"kept": 1, "known": 0, "refused": []}
    assert visitor.send(first, second).document == {"kept": 1, "known": 1, "refused": []}
    assert visitor.send(second, second).document == {"kept": 0, "known": 2, "refused": []}


def test_events_that_are_invalid_spoil_no_other(app: App) -> None:
    """Each is refused with its index and the reason; the rest is stored."""
    visitor = Visit(app, consent=True)
    wrong = [
        visitor.event("not_a_name"),
        visitor.event(seq=-5),
        visitor.event(at="2026-11-30T12:00:00"),
        visitor.event(id={"$gt": ""}),
        visitor.event(props={"a": {"b": 1}}),
        visitor.event(props={"$set": 1}),
        visitor.event(more=1),
        visitor.event(at="1999-01-01T00:00:00Z"),
        visitor.event(movie="a,b"),
    ]
    reply = visitor.send(*wrong, visitor.event()).document
    assert (reply["kept"], reply["known"]) == (1, 0)
    refused = reply["refused"]
    assert isinstance(refused, list)
    assert [row["index"] for row in refused] == list(range(len(wrong)))
    assert all(row["reason"] for row in refused)


@pytest.mark.parametrize("ahead", [-3_600, 0, 3_600])
def test_event_time_is_corrected_by_the_error_of_the_clock(app: App, ahead: int) -> None:
    """A device whose clock is an hour off reports an event of a minute ago, and the stored time is right."""
    visitor = Visit(app, consent=True)
    off = timedelta(seconds=ahead)
    event = visitor.event(at=(datetime.now(UTC) + off - timedelta(minutes=1)).isoformat())
    assert visitor.send(event, sent=datetime.now(UTC) + off).status == 202
    stored = app.documents.database["events"].find_one({"_id": event["id"]})
    assert stored is not None
    assert abs(datetime.now(UTC) - timedelta(minutes=1) - stored["at"]) < timedelta(seconds=20)
    assert stored["at"] <= stored["received"]


def test_event_in_the_future_has_the_time_of_arrival(documents: Documents) -> None:
    """An event that the device made after it was sent is not in the future."""
    event = make_event(at=(NOW + timedelta(hours=2)).isoformat())
    store_batch(documents, "1", decode_batch(make_batch(event)), NOW)
    stored = documents.database["events"].find_one()
    assert stored is not None
    assert stored["at"] == NOW


def test_event_of_another_user_with_the_same_id_changes_nothing(documents: Documents) -> None:
    """An id that is taken is known, whichever user sends it."""
    event = make_event()
    for user_id in ("1", "2"):
        store_batch(documents, user_id, decode_batch(make_batch(event)), NOW)
    assert [row["user_id"] for row in documents.database["events"].find()] == ["1"]


@pytest.mark.parametrize("field", ["id", "session", "recommendation"])
@pytest.mark.parametrize("digit", ["0", "f"])
def test_event_uuid_that_stands_for_none_is_refused(documents: Documents, field: str, digit: str) -> None:
    """A device that fills in no id must not lose all events but the first."""
    none = str(uuid.UUID(digit * 32))
    receipt = store_batch(documents, "1", decode_batch(make_batch(make_event(**{field: none}), make_event())), NOW)
    assert (receipt.kept, receipt.known, [event.index for event in receipt.refused]) == (1, 0, [0])


def test_event_that_only_the_validator_refuses_spoils_no_other(documents: Documents) -> None:
    """It is named with its index; if the validator refuses all, the device keeps the batch."""
    documents.database.command("collMod", "events", validator={"seq": {"$ne": 7}})
    first, second = make_event(), make_event()
    receipt = store_batch(documents, "1", decode_batch(make_batch(first, make_event(seq=7), first, second)), NOW)
    assert (receipt.kept, receipt.known, [event.index for event in receipt.refused]) == (2, 1, [1])
    with pytest.raises(DocumentsRefused, match="1 of 1 events"):
        store_batch(documents, "1", decode_batch(make_batch(make_event(seq=7))), NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 60_000,
        make_batch().replace(b'"events": []', b'"events": [' + b"[" * 60_000),
        b"{",
        b"\xff\xfe",
        make_batch(),
        make_batch(*[make_event()] * 101),
        make_batch(make_event(), app="spider"),
        make_batch(make_event()).replace(b"+00:00", b""),
    ],
)
def test_batch_that_is_invalid_is_400(body: bytes) -> None:
    """The error names what is wrong."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as error:
        decode_batch(body)
    assert str(error.value)


def test_mutated_batches_never_break_the_decoder(documents: Documents) -> None:
    """Ten thousand damaged batches are stored or refused; the stored ones keep the validators of MongoDB."""
    rng = random.Random(18)
    good = make_batch(
        make_event(props={"a": 1, "b": "x"}, movie="heat+1995", position=3, recommendation=str(uuid.uuid4()))
    )
    accepted = 0
    for _ in range(10_000):
        body = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            where = rng.randrange(len(body))
            body[where : where + rng.randint(0, 2)] = rng.choice(
                (b"", b"9", b"-", b'"', b"null", b"1e400", b"\xff", b"{")
            )
        try:
            batch = decode_batch(bytes(body))
        except (msgspec.DecodeError, ValueError):
            continue
        if rng.random() < 0.02:
            accepted += store_batch(documents, "1", batch, NOW).kept
    # Most damage is harmless to the frame, and of ids and times.
    assert accepted > 0
    assert documents.database["events"].count_documents({}) == accepted


def test_batches_are_limited(app: App) -> None:
    """More batches in a minute than the limit are 429, and the device tries later."""
    visitor = Visit(app, consent=True)
    event = visitor.event()
    statuses = [visitor.send(event).status for _ in range(BATCHES.times + 1)]
    assert set(statuses[:-1]) == {202}
    assert statuses[-1] == 429


def test_event_types_are_those_of_the_documentation() -> None:
    """docs/app.md names every event."""
    names = msgspec.json.schema(AppEvent)["$defs"]["AppEvent"]["properties"]["name"]["enum"]
    page = (Path(__file__).parents[2] / "docs/app.md").read_text()
    assert [name for name in names if f"`{name}`" not in page] == []
