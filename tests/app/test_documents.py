"""Queries and indexes of MongoDB that the app needs: the contract that the embedded server and a real one must keep."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marquee.app.devices import Devices, digest
from marquee.app.document_schema import collection_schemas, prepare_documents
from marquee.app.documents import Documents
from marquee.app.movie_cache import split_words
from marquee.app.positions import Positions
from marquee.app.profiles import MAX_LIST, Profiles
from marquee.app.user_documents import export_user, forget_user
from marquee.app.write_limits import Limit, WriteLimits
from marquee.errors import DocumentsRefused, DocumentsUnavailable, SettingsError
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.process import free_port

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_prepare_twice_changes_nothing(empty_documents: Documents) -> None:
    """Collections, validators and indexes are made once; another retention changes its index only."""
    made = prepare_documents(empty_documents, 90)
    assert {f"collection {schema.name}" for schema in collection_schemas(90)} <= set(made)
    assert prepare_documents(empty_documents, 90) == []
    assert prepare_documents(empty_documents, 30) == ["index expiry of events"]
    indexes = empty_documents.database["events"].index_information()
    assert indexes["expiry"]["expireAfterSeconds"] == 30 * 86_400


def test_prepare_repairs_what_differs(documents: Documents) -> None:
    """An index of other keys and a validator that was removed are made again."""
    database = documents.database
    database["positions"].drop_index("by_user")
    database["positions"].create_index([("at", 1)], name="by_user")
    database.command("collMod", "devices", validator={})
    assert sorted(prepare_documents(documents, 90)) == ["index by_user of positions", "validator of devices"]
    assert prepare_documents(documents, 90) == []


def test_validators_refuse_other_documents(documents: Documents) -> None:
    """A document without its fields, with others, or with an operator in place of text is not stored."""
    good = {"_id": digest("t"), "user_id": "1", "made": NOW, "seen": NOW}
    for wrong in ({"user_id": {"$gt": ""}}, {"user_id": ""}, {"other": 1}, {"_id": "short"}):
        with pytest.raises(DocumentsRefused), documents.collection("devices") as devices:
            devices.insert_one({**good, **wrong})
    assert documents.database["devices"].count_documents({}) == 0


def test_device_token_is_stored_as_a_hash(documents: Documents) -> None:
    """The token is nowhere in the database, and finds its user."""
    devices = Devices(documents)
    token = devices.add("7", NOW)
    assert devices.find_user(token, NOW) == "7"
    assert devices.find_user(token + "x", NOW) is None
    assert token not in str(list(documents.database["devices"].find()))


def test_device_code_works_once_and_for_ten_minutes(documents: Documents) -> None:
    """A code is spent by its use; an expired or replaced one is unknown."""
    devices = Devices(documents)
    code = devices.make_code("7", NOW)
    assert devices.redeem_code(f" {code[:4].lower()}-{code[4:]} ", NOW) == "7"
    assert devices.redeem_code(code, NOW) is None
    first, second = devices.make_code("7", NOW), devices.make_code("7", NOW)
    assert devices.redeem_code(first, NOW) is None
    assert devices.redeem_code(second, NOW + timedelta(minutes=10, seconds=1)) is None


def test_position_of_the_latest_time_wins(documents: Documents) -> None:
    """The order of arrival does not matter, and ids are data: none is an expression."""
    positions = Positions(documents)
    for minute, ago in ((5, 0), (90, 60), (7, -1)):
        positions.write("$user_id", "$minute", minute, NOW - timedelta(minutes=ago))
    assert positions.read("$user_id", "$minute") == 7
    (newest,) = positions.read_newest("$user_id", 10)
    assert (newest.movie_id, newest.minute) == ("$minute", 7)


def test_position_first_writes_at_once_are_one_document(documents: Documents) -> None:
    """Eight threads that write the first minute of a movie make one position."""
    positions = Positions(documents)

    def write(minute: int) -> None:
        positions.write("1", "heat+1995", minute, NOW + timedelta(minutes=minute))

    threads = [threading.Thread(target=write, args=(minute,)) for minute in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert positions.read("1", "heat+1995") == 7
    assert documents.database["positions"].count_documents({}) == 1


def test_profile_list_has_each_movie_once_and_a_limit(documents: Documents) -> None:
    """A movie is on the list once; a full list takes no other one."""
    profiles = Profiles(documents)
    assert profiles.put_on_list("1", "a+1999", NOW)
    assert profiles.put_on_list("1", "a+1999", NOW)
    assert profiles.read("1").movie_ids == ("a+1999",)
    documents.database["profiles"].update_one({"_id": "1"}, {"$set": {"list": [f"m{n}" for n in range(MAX_LIST)]}})
    assert not profiles.put_on_list("1", "b+1999", NOW)
    profiles.take_off_list("1", "m0")
    assert profiles.put_on_list("1", "b+1999", NOW)


def test_profile_consent_to_an_older_text_is_asked_again(documents: Documents) -> None:
    """Consent holds for the text that the user has seen."""
    profiles = Profiles(documents)
    assert profiles.read("1").analytics is None
    profiles.set_consent("1", True, NOW)
    assert profiles.read("1").analytics is True
    documents.database["profiles"].update_one({"_id": "1"}, {"$set": {"consent.text": 0}})
    assert profiles.read("1").analytics is None


def test_write_limits_hold_across_two_instances(documents: Documents) -> None:
    """Two instances and eight threads together let through what the limit allows, in a moving window."""
    time = 1_000.0
    limit, allowed = Limit("test", 5, 60), []
    instances = [WriteLimits(documents, lambda: time), WriteLimits(documents, lambda: time)]

    def write(number: int) -> None:
        allowed.append(instances[number % 2].allow(limit, "1"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 5
    assert instances[0].allow(limit, "another user")
    time += 59
    assert not instances[0].allow(limit, "1")
    time += 2
    assert instances[1].allow(limit, "1")


def test_forget_leaves_no_document_of_the_user(documents: Documents) -> None:
    """Export has everything of one user, forget deletes it, and both leave other users alone."""
    for user_id in ("1", "2"):
        Devices(documents).add(user_id, NOW)
        Devices(documents).make_code(user_id, NOW)
        Profiles(documents).set_consent(user_id, True, NOW)
        Positions(documents).write(user_id, "heat+1995", 3, NOW)
    exported = export_user(documents, "1")
    assert {name: len(rows) for name, rows in exported.items() if isinstance(rows, list)} == {
        "devices": 1,
        "join_codes": 1,
        "positions": 1,
        "events": 0,
    }
    assert exported["profile"]["consent"]["analytics"] is True
    forget_user(documents, "1", NOW)
    empty = export_user(documents, "1")
    assert not any(empty.values())
    assert export_user(documents, "2")["devices"]
    # The monitor deletes what it derived, and then this.
    assert [row["_id"] for row in documents.database["withdrawals"].find()] == ["1"]


def test_search_words_have_no_accents_and_no_operators() -> None:
    """Titles and queries are split alike."""
    assert split_words("Léon: The Professional (1994)") == ["leon", "the", "professional", "1994"]
    assert split_words('"$gt" .* [') == ["gt"]


def test_documents_away_fail_within_the_deadline_and_come_back(tmp_path: Path) -> None:
    """A killed server is reported as unavailable; after its restart every acknowledged document is there."""
    server = EmbeddedMongo(tmp_path)
    with server:
        documents = Documents(server.url, pause_s=0)
        with documents.collection("kept") as kept:
            for number in range(50):
                kept.insert_one({"_id": number})
        server.kill()
        with pytest.raises(DocumentsUnavailable):
            documents.ping()
        server.start()
        with documents.collection("kept") as kept:
            assert kept.count_documents({}) == 50
        documents.close()


def test_documents_pause_after_a_failure() -> None:
    """After a failure the next operation fails at once, without a new attempt."""
    documents = Documents(f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", selection_ms=50)
    with pytest.raises(DocumentsUnavailable, match="unavailable"):
        documents.ping()
    with pytest.raises(DocumentsUnavailable, match="within the last 2 s"):
        documents.ping()
    documents.close()


def test_documents_url_that_is_wrong_is_not_shown() -> None:
    """The error names the setting, not the URL with its password."""
    with pytest.raises(SettingsError, match="MARQUEE_DOCUMENTS_URL") as error:
        Documents("mongodb://user:secret@host:port/").ping()
    assert "secret" not in str(error.value)
