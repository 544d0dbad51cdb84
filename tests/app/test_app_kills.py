"""Kills of the app and of MongoDB during use; ``make bench ONLY=app_kill_losses`` is the long run, with Kafka."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from benchmarks.app_kills import app_process, restart_function, use_through_kills
from benchmarks.app_parts import MOVIES, run_parts

from marquee.local.process import free_port, port_open

pytestmark = pytest.mark.servers


def test_events_survive_kills_of_the_app_and_of_mongodb(tmp_path: Path) -> None:
    """No event is lost and none doubled, and the app serves again by itself."""
    ratings = [f"/movie/{quote(movie_id, safe='')}/rating" for movie_id in MOVIES]
    with run_parts() as parts:
        port = free_port()
        app = app_process(tmp_path, port, parts.settings())
        app.start()
        try:
            app.wait_healthy(lambda: port_open(port))
            restarts = [lambda: restart_function(app, port), parts.restart_mongo]
            counts = use_through_kills(parts, port, ratings, restarts, kills=2)
        finally:
            app.stop()
    assert counts.kills == 2
    assert counts.stored == counts.different == counts.numbered > 0
