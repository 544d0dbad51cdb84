"""Pseudonyms on the real path: Kafka, bridge, `ingest`, retraining, `recommend`, export and erasure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.bridge.bridge_harness import PARTITIONS, BridgeHarness
from tests.functions.ingest import IngestProcess
from tests.privacy.held_data import KEEP, KEY, write_held_data
from tests.servers.function import Function
from tests.servers.receiver import Receiver
from tests.support.records import rate, rows, watch
from tests.support.synthetic_data import blocks, write_base
from tests.support.waiting import wait_until
from tests.training.runs import GOOD

from marquee.data.interaction_frames import distinct_ids
from marquee.data.snapshot import SnapshotRequest, write_snapshot
from marquee.data.sources import read_base
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, make_pseudonym, set_profiling
from marquee.errors import ForgetIncomplete, PrivacyKeyWrong
from marquee.events.parser import EventParser
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.privacy import forget_journal, learned_models, personal_tables
from marquee.privacy.forget import Forgetting, Places
from marquee.privacy.pseudonyms import replace_user_ids
from marquee.privacy.user_export import export_held
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Policy
from marquee.registry.policy_rollout import set_policy
from marquee.registry.rollout import promote
from marquee.training.retrain import retrain

FIRST = 910_000_001
KNOWN, LIVE = str(FIRST), "920000001"
"""A user of the base data, and one of the event log alone. Their nine digits occur nowhere else."""
UNTIL = datetime(2100, 1, 1, tzinfo=UTC)
_TABLES = """
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'rollups') ORDER BY 1"""


@dataclass
class RealPath:
    """The parts between Kafka and the answer, on one database, store and remote."""

    database: Database
    store: FileStore
    remote: FileStore
    base: Path
    recommend: Function

    def train(self) -> str:
        request = SnapshotRequest(UNTIL, self.base, 0.9, 5.0)
        result = retrain(
            request, GOOD, self.store, self.database, remote=self.remote, force=True, privacy_key=KEY, commit="abc"
        )
        if result.outcome == "refused" and result.version:
            promote(self.store, result.version, author="test")
        return result.outcome

    def ask(self, path: str) -> tuple[str, str, list[str]]:
        """Return user id, tier and movies of an answer."""
        reply = self.recommend.get(path, Accept="application/json")
        assert reply.status == 200, reply.body
        found = msgspec.json.decode(reply.body)
        return found["user_id"], found.get("tier", ""), [movie["movie_id"] for movie in found["movies"]]

    def await_tier(self, user: str, tier: str) -> list[str]:
        wait_until(lambda: self.ask(f"/recommend/{user}")[1] == tier, 30)
        user_id, _, movies = self.ask(f"/recommend/{user}")
        assert user_id == ("" if tier == "not-profiled" else user)
        return movies

    def find_named(self, user: str) -> set[str]:
        """Return every place whose content has the id: tables as text, objects and snapshots."""
        with self.database.transaction() as cursor:
            cursor.execute(_TABLES)
            tables = [name for (name,) in cursor.fetchall()]
        named = {
            table
            for table in tables
            if rows(self.database, f"SELECT FROM {table} AS t WHERE t::text LIKE %s LIMIT 1", f"%{user}%")
        }
        if learned_models.find_learned(self.store, [user]):
            named.add("models")
        snapshots = learned_models.list_snapshots(self.remote)
        if any(learned_models.snapshot_holds_any(self.remote, digest, [user]) for digest in snapshots):
            named.add("snapshots")
        return named


def write_numbered_base(directory: Path) -> Path:
    ratings = blocks(users=12)
    names = {user: str(FIRST + n) for n, user in enumerate(sorted(ratings["user_id"].unique()))}
    base = write_base(directory, ratings.assign(user_id=ratings["user_id"].map(names)))
    (base / "users.csv").write_text(f"user_id,gender\n{KNOWN},F\n")
    return base


@contextmanager
def real_path(kafka: EmbeddedKafka, database: Database, root: Path) -> Iterator[RealPath]:
    """Run the parts: records of both users go through Kafka, the bridge and `ingest`; then a model is trained."""
    ingest = IngestProcess(root / "ingest.log", database.url, PRIVACY_KEY=KEY)
    ingest.start()
    store, url = FileStore(root / "objects"), f"http://127.0.0.1:{ingest.port}"
    receiver = Receiver()
    harness = BridgeHarness(kafka, receiver)
    kafka.create_topic(harness.topic, PARTITIONS)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    lines = [rate(int(user), 5, f"b0+000{i}", now) for user in (KNOWN, LIVE) for i in range(4)]
    lines += [watch(int(user), 1, "b0+0004", now) for user in (KNOWN, LIVE)]
    harness.produce([line.encode() for line in lines])
    environment = {
        "MARQUEE_DATABASE_URL": database.url,
        "MARQUEE_OBJECTS_URL": f"file://{store.root}",
        "MARQUEE_DELIVERY_URL": url,
        "MARQUEE_PRIVACY_KEY": KEY,
        "MARQUEE_RELEASE_REFRESH_S": "0.2",
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
    }
    try:
        with harness.bridge(DELIVERY_URL=url):
            wait_until(lambda: rows(database, "SELECT count(*) FROM ratings") == [(8,)], 60)
            wait_until(lambda: rows(database, "SELECT count(*) FROM watches") == [(2,)], 60)
        path = write_numbered_base(root / "base")
        with Function("recommend", root, environment) as recommend:
            running = RealPath(database, store, FileStore(root / "remote"), path, recommend)
            running.train()
            set_policy(store, Policy(explore_epsilon=0.0, explore_slots=0), author="test")
            yield running
    finally:
        ingest.process.stop()
        receiver.close()


@pytest.mark.servers
@pytest.mark.long
@pytest.mark.parametrize("pseudonyms", [False, True])
def test_real_path_stores_pseudonyms_if_they_are_on_and_answers_with_ids(
    kafka: EmbeddedKafka, plain_database: Database, tmp_path: Path, pseudonyms: bool
) -> None:
    """Lists, similar movies, export and erasure work with ids; what is stored has them only without pseudonyms."""
    if pseudonyms:
        replace_user_ids(plain_database, KEY)
    with real_path(kafka, plain_database, tmp_path) as path:
        listed = [path.await_tier(user, "personalised") for user in (KNOWN, LIVE)]
        assert {movies[0][:2] for movies in listed} == {"b0"}
        assert not {f"b0+000{i}" for i in range(5)} & {movie for movies in listed for movie in movies}
        user_id, _, similar = path.ask(f"/similar/b0+0001?user={LIVE}")
        assert (user_id, similar[0][:2]) == (LIVE, "b0")
        stored = {user: make_pseudonym(KEY, user) if pseudonyms else user for user in (KNOWN, LIVE)}
        shown = "SELECT DISTINCT user_id FROM impressions WHERE user_id = ANY (%s)"
        wait_until(lambda: len(rows(plain_database, shown, list(stored.values()))) == 2, 30)
        places = {"ratings", "watches", "watch_sessions", "impressions", "models", "snapshots"}
        for user in (KNOWN, LIVE):
            assert path.find_named(stored[user]) >= places
            assert path.find_named(user) & places == (set() if pseudonyms else places)

        exported = export_held(plain_database, path.store, KEY, KNOWN, remote=path.remote, base=path.base)
        assert (len(exported["tables"]["ratings"]), len(exported["snapshots"])) == (4, 1)
        assert all(found["movies"] for found in exported["models"].values())
        assert len(exported["base_data"]) > 4

        forget_journal.open_requests(plain_database, KEY, [KNOWN])
        where = Places(database=plain_database, store=path.store, remote=path.remote, retrain=path.train)
        (receipt,) = Forgetting(where, KEY).run()
        assert msgspec.json.decode(receipt)["removed"]["ratings"] == 4
        assert path.find_named(KNOWN) == set()
        assert path.find_named(make_pseudonym(KEY, KNOWN)) == set()
        path.await_tier(KNOWN, "not-profiled")
        assert path.await_tier(LIVE, "personalised")


def test_replace_user_ids_changes_every_table_and_then_nothing(database: Database, parser: EventParser) -> None:
    """Ids of both users are pseudonyms in each table; a second call finds nothing to do."""
    write_held_data(database, parser)
    tables = set(personal_tables.find_personal_tables(database))
    before = personal_tables.count_rows(database, [KEEP])
    changed = replace_user_ids(database, KEY)
    assert changed.keys() == tables
    assert personal_tables.count_rows(database, [KEEP]).keys() <= {"quarantine", "rejected_events"}
    after = personal_tables.count_rows(database, [KEEP, make_pseudonym(KEY, KEEP)])
    assert after == before
    assert replace_user_ids(database, KEY) == {}


def test_replace_user_ids_marks_stay_and_hold_for_pseudonyms(plain_database: Database, tmp_path: Path) -> None:
    """A user who was marked before is left out of base data afterwards, and is told by the plain id."""
    set_profiling(plain_database, KEY, KNOWN, allowed=False)
    replace_user_ids(plain_database, KEY)
    marks = MarkReader(KEY).read(plain_database)
    assert (marks.holds(KNOWN), marks.holds(LIVE)) == (True, False)
    base = write_numbered_base(tmp_path / "base")
    marks = MarkReader(KEY).read(plain_database)
    read = read_base(base, UNTIL, excluded=marks)
    users = distinct_ids((read.ratings,), "user_id")
    assert make_pseudonym(KEY, KNOWN) not in {*users, *read.side_information.users}
    assert make_pseudonym(KEY, str(FIRST + 1)) in users
    write_snapshot(SnapshotRequest(UNTIL, base, 1.0, 5.0), plain_database, tmp_path / "snapshot", marks)


def test_replace_user_ids_refuses_other_key_and_open_requests(plain_database: Database) -> None:
    """Nothing changes with another key, or while a request to be forgotten is open."""
    forget_journal.open_requests(plain_database, KEY, [KNOWN])
    with pytest.raises(ForgetIncomplete, match="resume"):
        replace_user_ids(plain_database, KEY)
    (request,) = forget_journal.list_open(plain_database)
    forget_journal.finish(plain_database, request, "{}", datetime.fromtimestamp(time.time(), UTC))
    with pytest.raises(PrivacyKeyWrong):
        replace_user_ids(plain_database, "another key" * 4)
    assert not MarkReader(KEY).read(plain_database).pseudonyms
