"""The ``recommend`` function on the wire, under the real functions-framework, while things go wrong."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import psycopg2
import pytest
from tests.recommend.models import TRAINED_THROUGH, corrupt, group_of, movie, released, two_tastes, written
from tests.servers.customers import Played
from tests.servers.function import Function, Reply
from tests.servers.gcs import GcsServer
from tests.servers.receiver import Receiver

from marquee.artifacts.file import FileStore
from marquee.artifacts.object_store import connect
from marquee.artifacts.release import Arm, assign, new_release, publish
from marquee.local.postgres import EmbeddedPostgres
from marquee.stream.batch import Impression, ImpressionBatch, Record, StreamBatch
from marquee.stream.envelope import open_envelope, seal, to_http
from marquee.telemetry.migrate import migrate

pytestmark = pytest.mark.servers

Start = Callable[..., Function]
LATER = TRAINED_THROUGH + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def start(store: FileStore, tmp_path: Path) -> Iterator[Start]:
    """Start ``recommend`` on ``store``; settings are added by name."""
    started: list[Function] = []

    def make(**settings: str) -> Function:
        env = {
            "MARQUEE_OBJECTS_URL": f"file://{store.root}",
            "MARQUEE_RELEASE_REFRESH_S": "0.1",
            # A busy machine is no fault of the code's.
            "MARQUEE_CALLER_TIMEOUT_MS": "20000",
            "MARQUEE_HISTORY_DEADLINE_MS": "2000",
            # Lists whose order is known.
            "MARQUEE_EXPLORE_SHARE": "0",
            "MARQUEE_EXPLORE_TAIL": "0",
            **{name if name.isupper() else f"MARQUEE_{name.upper()}": v for name, v in settings.items()},
        }
        started.append(Function("recommend", tmp_path, env))
        return started[-1].__enter__()

    yield make
    for function in started:
        function.__exit__()


def eventually(ask: Callable[[], Reply], wanted: Callable[[Reply], bool]) -> Reply:
    """Ask until the answer is as wanted; every answer on the way has to be a good one."""
    deadline = time.monotonic() + 30
    while True:
        reply = ask()
        assert reply.status == 200, reply
        if wanted(reply):
            return reply
        assert time.monotonic() < deadline, reply
        time.sleep(0.02)


def impressions(receiver: Receiver) -> list[Impression]:
    batches = [open_envelope(envelope) for envelope in receiver.accepted]
    return [i for batch in batches if isinstance(batch, ImpressionBatch) for i in batch.impressions]


def test_the_very_first_request_is_answered(store: FileStore, start: Start) -> None:
    """Nothing warms it up: the model is loaded while the first caller waits."""
    version = released(store)
    reply = start().get("/recommend/1000")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert reply.films == [movie(i) for i in range(4, 44, 2)]
    assert b"\n" not in reply.body
    assert reply.headers["Marquee-Model-Version"] == version
    assert reply.headers["Marquee-Arm"] == "control"


def test_first_requests_that_come_together_are_all_answered(store: FileStore, start: Start) -> None:
    released(store)
    function = start(WORKERS="2")
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda u: function.get(f"/recommend/{u}"), range(990, 1022)))
    assert {(r.status, len(set(r.films))) for r in replies} == {(200, 20)}


def test_the_protocol_through_the_framework(store: FileStore, start: Start) -> None:
    """Statuses and bodies survive it: escapes, HEAD, other methods, JSON."""
    released(store)
    function = start()
    bad = function.get("/recommend/12%0A")
    assert (bad.status, bad.body) == (
        400,
        b"'12\\n' is not a user id: it should be 1 to 20 decimal digits, as in /recommend/123456.\n",
    )
    assert function.get("/recommend/%D9%A3").status == 400
    assert function.get("/recommend/").status == 400
    assert function.get("/elsewhere").status == 404
    assert function.get("/recommend/1000", method="POST").status == 405
    head = function.get("/recommend/1000", method="HEAD")
    assert (head.status, head.body, head.headers["Marquee-Tier"]) == (200, b"", "personalised")
    as_json = function.get("/recommend/1000?why=not", Accept="application/json")
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.document["tier"] == "personalised"
    assert function.get("/healthz").status == function.get("/readyz").status == 200


def test_models_are_swapped_under_load_and_no_request_fails(store: FileStore, start: Start) -> None:
    """Ten releases while four clients ask without a pause; each answer is wholly of one version."""
    expected = {released(store): 3.0}
    function = start()
    function.get("/readyz")
    stop = threading.Event()

    def ask() -> list[Reply]:
        replies = []
        while not stop.is_set():
            replies.append(function.get("/recommend/1001", Accept="application/json"))
        return replies

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for n in range(10):
            mean = 3.0 - (n + 1) / 16
            version = released(store, two_tastes(mean=mean), TRAINED_THROUGH + timedelta(days=n + 1))
            expected[version] = mean
            eventually(
                lambda: function.get("/recommend/1001"),
                lambda reply, version=version: reply.headers["Marquee-Model-Version"] == version,
            )
        stop.set()
        replies = [reply for future in asking for reply in future.result()]
    assert {reply.status for reply in replies} == {200}
    for reply in replies:
        films, version = reply.document["films"], str(reply.document["model_version"])
        assert isinstance(films, list)
        assert {film["rating"] for film in films} == {expected[version] + 1}
        assert reply.headers["Marquee-Model-Version"] == version


def test_two_arms_answer_from_one_instance(store: FileStore, start: Start) -> None:
    """Each user gets the arm that the release gives him, every time, and its own model's numbers."""
    versions = {"control": written(store), "canary": written(store, two_tastes(mean=3.5), LATER)}
    arms = tuple(Arm(name, version, 0.5) for name, version in versions.items())
    release = publish(store, lambda before: new_release(arms, author="test", reason="two arms", after=before))
    function = start()
    for user in (str(n) for n in range(1000, 1030)):
        reply = function.get(f"/recommend/{user}")
        arm = assign(release, user)
        assert (reply.headers["Marquee-Arm"], reply.headers["Marquee-Model-Version"]) == (
            arm.name,
            arm.version,
        )
    assert {assign(release, str(n)).name for n in range(1000, 1030)} == {"control", "canary"}


def test_each_request_is_logged_timed_and_counted(store: FileStore, start: Start) -> None:
    """By the process as it is deployed: the line on its output, the header, the metrics."""
    released(store)
    function = start(trace_project="movies")
    reply = function.get("/recommend/1000", Traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    function.get("/recommend/x")
    lines = [json.loads(line) for line in function.log.read_text().splitlines() if line.startswith("{")]
    assert [(line["status"], line.get("tier")) for line in lines] == [(200, "personalised"), (400, None)]
    assert lines[0]["logging.googleapis.com/trace"] == f"projects/movies/traces/{'a' * 32}"
    assert lines[0]["recommendation_id"] == reply.headers["Marquee-Recommendation-Id"]
    assert "rank;dur=" in reply.headers["Server-Timing"]
    metrics = function.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'marquee_recommend_requests_total{status="200"} 1\n' in metrics.body


def test_users_without_a_history_get_what_their_cohort_prefers(store: FileStore, start: Start) -> None:
    """The simulator plays the customer service; then it is gone, and popular films are what is left."""
    preferred = np.where(np.arange(60) % 2, 9.0, 0.0).astype(np.float32)
    names = ["gender:f", "gender:m"]
    scores = np.stack([preferred, preferred])
    released(store, replace(two_tastes(), cohort_names=names, cohort_scores=scores))
    with Played() as played:
        function = start(customers_url=played.url, customers_deadline_ms="5000")
        known, unknown = function.get("/recommend/7"), function.get("/recommend/999")
    assert (known.headers["Marquee-Tier"], {group_of(f) for f in known.films}) == ("cohort", {1})
    assert (unknown.headers["Marquee-Tier"], unknown.notes) == ("popular", "")
    assert function.get("/recommend/7").headers["Marquee-Tier"] == "cohort"  # Remembered.
    gone = function.get("/recommend/8")
    assert (gone.headers["Marquee-Tier"], gone.notes) == ("popular", "customer-service-unavailable")
    assert len(set(gone.films)) == 20


def test_a_bad_artifact_is_refused_and_reported(store: FileStore, start: Start) -> None:
    good = released(store)
    function = start()
    function.get("/readyz")
    # The document that names it comes after the damage, as a disk's fault in storage would.

    bad = written(store, two_tastes(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    corrupt(store, bad, "item_vectors.npy")
    publish(store, lambda r: new_release((Arm("control", bad, 1.0),), author="test", reason="", after=r))
    reply = eventually(lambda: function.get("/recommend/1000"), lambda r: r.notes == "release-refused")
    assert reply.headers["Marquee-Model-Version"] == good
    version = function.get("/version").document
    assert version["release"] == 1
    assert bad in str(version["refusals"])
    assert bad in function.log.read_text()


def test_the_store_goes_and_comes_back(store: FileStore, start: Start) -> None:
    released(store)
    function = start()
    function.get("/readyz")
    away = store.root.rename(store.root.with_name("away"))
    store.root.write_text("no directory any more")
    reply = eventually(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert reply.headers["Marquee-Tier"] == "personalised"
    store.root.unlink()
    away.rename(store.root)
    newer = released(store, two_tastes(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    reply = eventually(
        lambda: function.get("/recommend/1000"), lambda r: r.headers["Marquee-Model-Version"] == newer
    )
    assert reply.notes == ""


def test_google_cloud_storage_is_killed_and_nobody_is_failed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was answered before is answered from memory, and who was not gets what is popular."""
    with GcsServer(tmp_path / "gcs") as server:
        server.make_bucket("models")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        version = released(connect("gs://models/here"))
        function = start(objects_url="gs://models/here", STORAGE_EMULATOR_HOST=server.url)
        first = function.get("/recommend/1000")
        assert first.headers["Marquee-Model-Version"] == version
        assert first.headers["Marquee-Tier"] == "personalised"
    again = eventually(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert again.films == first.films
    other = function.get("/recommend/1001")
    assert (other.status, other.headers["Marquee-Tier"]) == (200, "popular")
    assert "ObjectStoreUnavailable" in str(function.get("/version").document["object_store"])


def test_with_nothing_at_all_it_is_503_until_a_release_comes(store: FileStore, start: Start) -> None:
    """And healthy all the time: an instance that waits for its first model must not be killed for it."""
    function = start()
    reply = function.get("/recommend/1000")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert (function.get("/readyz").status, function.get("/healthz").status) == (503, 200)
    released(store)
    deadline = time.monotonic() + 30
    while function.get("/readyz").status != 200:
        assert time.monotonic() < deadline
    assert function.get("/recommend/1000").status == 200


def test_wrong_settings_are_told_to_the_log_and_not_to_the_caller(start: Start) -> None:
    function = start(rating_max="7")
    assert function.get("/recommend/1000").status == 500
    assert function.get("/healthz").status == 200
    assert "MARQUEE_RATING_MAX is '7'" in function.log.read_text()


class Telemetry:
    """A database with the telemetry's tables, to be written to, killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.server = EmbeddedPostgres(directory)
        self.server.start()
        migrate(self.server.url)
        self._offset = 0

    def rate(self, user_id: str, item: int, rating: int) -> None:
        self._offset += 1
        with (
            closing(psycopg2.connect(self.server.url)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "INSERT INTO streams (topic, topic_id) VALUES ('t', 't') ON CONFLICT DO NOTHING;"
                'INSERT INTO ratings (time, stream, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, 1, 0, %s, %s, %s, %s)",
                (datetime.now(UTC), self._offset, user_id, movie(item), rating),
            )

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Every process of the server stopped, for a while."""
        master = psutil.Process(self.server.pid)
        processes = [master, *master.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[Telemetry]:
    telemetry = Telemetry(tmp_path / "postgres")
    yield telemetry
    telemetry.server.stop()
    shutil.rmtree(tmp_path / "postgres", ignore_errors=True)


def test_a_rating_counts_in_the_next_answer_and_a_killed_database_fails_nobody(
    store: FileStore, start: Start, telemetry: Telemetry
) -> None:
    released(store)
    function = start(database_url=telemetry.server.url)
    assert function.get("/recommend/77").headers["Marquee-Tier"] == "popular"
    telemetry.rate("77", 9, 5)
    fresh = function.get("/recommend/77")
    assert (fresh.headers["Marquee-Tier"], {group_of(film) for film in fresh.films}) == ("folded-in", {1})
    telemetry.server.kill()
    for _ in range(10):
        reply = function.get("/recommend/77")
        assert (reply.status, reply.headers["Marquee-Tier"], reply.notes) == (
            200,
            "popular",
            "database-unavailable",
        )
    assert function.get("/recommend/1000").headers["Marquee-Tier"] == "personalised"
    telemetry.server.start()
    eventually(lambda: function.get("/recommend/77"), lambda r: r.headers["Marquee-Tier"] == "folded-in")


def test_a_line_of_the_log_counts_in_the_very_next_answer(
    store: FileStore, start: Start, telemetry: Telemetry, tmp_path: Path
) -> None:
    """From end to end: `ingest` takes a batch with one rating of a brand-new user, and the answer that is
    asked for next is his own."""
    released(store)
    function = start(database_url=telemetry.server.url)
    assert function.get("/recommend/78").headers["Marquee-Tier"] == "popular"
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S},78,GET /rate/{movie(9)}=5"
    headers, body = to_http(seal(StreamBatch("movielog", "id", 0, (Record(0, 0, line),))))
    with Function("ingest", tmp_path, {"MARQUEE_DATABASE_URL": telemetry.server.url}) as ingest:
        assert ingest.get("/", method="POST", body=body, **headers).status == 204
        fresh = function.get("/recommend/78")
    assert (fresh.headers["Marquee-Tier"], {group_of(film) for film in fresh.films}) == ("folded-in", {1})
    assert movie(9) not in fresh.films


def test_a_database_that_hangs_costs_its_deadline_and_then_nothing(
    store: FileStore, start: Start, telemetry: Telemetry
) -> None:
    """Stopped, not killed: its port is open, and nothing ever comes back."""
    released(store)
    function = start(database_url=telemetry.server.url, history_deadline_ms="50")
    eventually(lambda: function.get("/recommend/77"), lambda r: r.notes == "")
    with telemetry.hanging():
        replies = [function.get("/recommend/1000") for _ in range(30)]
    assert {(r.status, r.headers["Marquee-Tier"], r.notes) for r in replies} == {
        (200, "personalised", "database-unavailable")
    }
    eventually(lambda: function.get("/recommend/1000"), lambda r: r.notes == "")


def test_without_a_release_the_database_tells_what_is_popular(start: Start, telemetry: Telemetry) -> None:
    for user in range(3):
        telemetry.rate(str(user), 5, 5)
    telemetry.rate("7", 6, 4)
    reply = start(database_url=telemetry.server.url).get("/recommend/88")
    assert (reply.status, reply.headers["Marquee-Tier"], reply.films[0]) == (200, "popular", movie(5))


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
        assert [film.movie_id for film in impression.films] == reply.films
        assert (impression.model_version, impression.release) == (version, 1)
        assert impression.tier == reply.headers["Marquee-Tier"]


def test_a_receiver_that_hangs_or_is_gone_is_not_felt(
    store: FileStore, start: Start, receiver: Receiver
) -> None:
    """The first impressions hang in the receiver while answers go on; then it is gone for good."""
    released(store)
    receiver.hold.clear()
    function = start(delivery_url=receiver.url, impressions_queue="5")
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
