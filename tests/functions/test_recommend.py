"""Tests of the ``recommend`` function on the wire, under the real functions-framework."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import psutil
import pytest
from tests.functions.conftest import Start, wait_for_reply
from tests.servers.customers import CustomerServer
from tests.servers.function import Function, Reply
from tests.serving.models import (
    TRAINED_THROUGH,
    get_group,
    make_movie_id,
    release_model,
    release_still_model,
    store_model,
    two_group_model,
)

from marquee.registry.arm_assignment import Arm, assign_arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import new_release, publish_release

pytestmark = pytest.mark.servers
LATER = TRAINED_THROUGH + timedelta(days=1)


def has_version(version: str, reply: Reply) -> bool:
    return reply.headers["Marquee-Model-Version"] == version


def test_recommend_first_request_is_answered(store: FileStore, start: Start) -> None:
    """No warm-up is needed: the model is loaded while the first caller waits."""
    version = release_still_model(store)
    reply = start().get("/recommend/1000")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert reply.movies == [make_movie_id(i) for i in range(4, 44, 2)]
    assert b"\n" not in reply.body
    assert reply.headers["Marquee-Model-Version"] == version
    assert reply.headers["Marquee-Arm"] == "control"


def test_recommend_concurrent_first_requests_are_answered(store: FileStore, start: Start) -> None:
    """Two workers, sixteen clients."""
    release_model(store)
    function = start(WORKERS="2")
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda u: function.get(f"/recommend/{u}"), range(990, 1022)))
    assert {(r.status, len(set(r.movies))) for r in replies} == {(200, 20)}


def test_recommend_protocol_survives_the_framework(store: FileStore, start: Start) -> None:
    """Escapes, HEAD, other methods, JSON."""
    release_model(store)
    function = start()
    bad = function.get("/recommend/12%0A")
    assert (bad.status, bad.body) == (
        400,
        b"'12\\n' is not a user id: it should be 1 to 128 characters without control characters, comma and slash, "
        b"as in /recommend/123456.\n",
    )
    for user_id in ("u-42", "%D9%A3", "ann%40example.org", "%25", "12%20"):
        assert function.get(f"/recommend/{user_id}").status == 200
    for user_id in ("1%2F2", "1/2", "1%2C2", "%FF", "%00"):
        assert function.get(f"/recommend/{user_id}").status == 400
    assert function.get("/healthz", method="POST").status == 405
    assert function.get("/healthz").status == 200
    assert function.get("/recommend/").status == 400
    assert function.get("/elsewhere").status == 404
    assert function.get("/recommend/1000", method="POST").status == 405
    head = function.get("/recommend/1000", method="HEAD")
    assert (head.status, head.body, head.headers["Marquee-Tier"]) == (200, b"", "personalised")
    unknown = function.get("/recommend/1000?why=not", Accept="application/json")
    assert (unknown.status, b"'why' is not a parameter here" in unknown.body) == (400, True)
    as_json = function.get("/recommend/1000?n=20", Accept="application/json")
    assert as_json.headers["Content-Type"] == "application/json"
    assert as_json.document["tier"] == "personalised"
    assert function.get("/healthz").status == function.get("/readyz").status == 200


def test_recommend_new_releases_under_load_fail_no_request(store: FileStore, start: Start) -> None:
    """Ten releases while four clients send requests without a pause; each answer is of one version only."""
    expected = {release_still_model(store): 3.0}
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
            version = release_model(store, two_group_model(mean=mean), TRAINED_THROUGH + timedelta(days=n + 1))
            expected[version] = mean
            wait_for_reply(lambda: function.get("/recommend/1001"), partial(has_version, version))
        stop.set()
        replies = [reply for future in asking for reply in future.result()]
    assert {reply.status for reply in replies} == {200}
    for reply in replies:
        movies, version = reply.document["movies"], str(reply.document["model_version"])
        assert isinstance(movies, list)
        assert {movie["rating"] for movie in movies} == {expected[version] + 1}
        assert reply.headers["Marquee-Model-Version"] == version


def test_recommend_two_arms_are_served_by_one_instance(store: FileStore, start: Start) -> None:
    """Each user gets the arm that the release assigns, with the predictions of its model."""
    versions = {"control": store_model(store), "canary": store_model(store, two_group_model(mean=3.5), LATER)}
    arms = tuple(Arm(name, version, 0.5) for name, version in versions.items())
    release = publish_release(store, lambda before: new_release(arms, author="test", reason="two arms", after=before))
    function = start()
    for user in (str(n) for n in range(1000, 1030)):
        reply = function.get(f"/recommend/{user}")
        arm = assign_arm(release.arms, release.salt, user)
        assert (reply.headers["Marquee-Arm"], reply.headers["Marquee-Model-Version"]) == (
            arm.name,
            arm.version,
        )
    assert {assign_arm(release.arms, release.salt, str(n)).name for n in range(1000, 1030)} == {
        "control",
        "canary",
    }


def test_recommend_requests_are_logged_timed_and_counted(store: FileStore, start: Start) -> None:
    """By the process as it is deployed: the line on its output, the header, the metrics."""
    release_model(store)
    function = start(delivery_url="pubsub://movies/events", PUBSUB_EMULATOR_HOST="127.0.0.1:1")
    reply = function.get("/recommend/1000", Traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    function.get("/recommend/x,")
    lines = [json.loads(line) for line in function.log.read_text().splitlines() if line.startswith("{")]
    assert [(line["status"], line.get("tier")) for line in lines] == [(200, "personalised"), (400, None)]
    assert lines[0]["logging.googleapis.com/trace"] == f"projects/movies/traces/{'a' * 32}"
    assert lines[0]["recommendation_id"] == reply.headers["Marquee-Recommendation-Id"]
    assert "rank;dur=" in reply.headers["Server-Timing"]
    metrics = function.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'marquee_recommend_requests_total{status="200"} 1\n' in metrics.body


def test_recommend_user_without_history_gets_the_cohort_tier(store: FileStore, start: Start) -> None:
    """The simulator plays the customer service; once it has gone, popular movies remain."""
    preferred = np.where(np.arange(60) % 2, 9.0, 0.0).astype(np.float32)
    names = ["gender:f", "gender:m"]
    scores = np.stack([preferred, preferred])
    release_still_model(store, replace(two_group_model(), cohort_names=names, cohort_scores=scores))
    with CustomerServer() as played:
        function = start(customers_url=played.url, lookup_deadline_ms="5000")
        known, unknown = function.get("/recommend/7"), function.get("/recommend/999")
    assert (known.headers["Marquee-Tier"], {get_group(f) for f in known.movies}) == ("cohort", {1})
    assert (unknown.headers["Marquee-Tier"], unknown.notes) == ("popular", "")
    assert function.get("/recommend/7").headers["Marquee-Tier"] == "cohort"  # From the cache.
    gone = function.get("/recommend/8")
    assert (gone.headers["Marquee-Tier"], gone.notes) == ("popular", "customer-service-unavailable")
    assert len(set(gone.movies)) == 20


def test_recommend_request_line_of_megabytes_is_refused_early(start: Start) -> None:
    """It costs no seconds of processor time, and others are answered."""
    function = start()
    before = _processor_s(function)
    with socket.create_connection(("127.0.0.1", function.port)) as client:
        client.settimeout(10)
        with contextlib.suppress(ConnectionError):  # The server may close before it has read all.
            client.sendall(b"GET /recommend/" + b"1" * 4_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 4")
    assert _processor_s(function) - before < 0.5
    assert function.get("/healthz").status == 200


def _processor_s(function: Function) -> float:
    assert function.process.pid is not None
    parent = psutil.Process(function.process.pid)
    return sum(sum(p.cpu_times()[:2]) for p in (parent, *parent.children(recursive=True)))
