"""Suspect accounts: an attack is found and left out of training, honest users are not, and a person can clear them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.support.records import rows

from marquee.data.sources import read_database
from marquee.db.pool import Database
from marquee.events.log_scale import FIVE_STARS
from marquee.monitoring import suspect_accounts
from marquee.monitoring.account_anomalies import (
    LEVELS,
    MovieRatings,
    MovieWatches,
    find_targets,
    find_watched_targets,
    level_bounds,
    log_binomial_tail,
    log_poisson_tail,
)
from marquee.monitoring.suspect_accounts import SuspectAccounts, mark_suspects
from marquee.registry.object_store.file_store import FileStore

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
SUSPECTS = "SELECT DISTINCT user_id FROM suspect_accounts ORDER BY user_id"


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def insert_ratings(database: Database, ratings: list[tuple[str, str, int]], days_ago: float, partition: int) -> None:
    """Insert (user, movie, rating) at one time, into a partition of their own."""
    with database.transaction() as cursor:
        cursor.executemany(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating) '
            "VALUES (%s, 1, %s, %s, %s, %s, %s)",
            [(NOW - timedelta(days=days_ago), partition, at, *rating) for at, rating in enumerate(ratings)],
        )


def insert_honest(database: Database) -> None:
    """Insert 60 established accounts that rate 20 of 40 movies, and 20 new ones that rate as they do."""
    rng = np.random.default_rng(0)
    for users, days_ago, partition in ((range(60), 30, 0), (range(60, 80), 2, 1)):
        insert_ratings(
            database,
            [
                (f"{user}", f"movie-{item}+2000", int(rng.integers(2, 6)))
                for user in users
                for item in rng.choice(40, 20, replace=False)
            ],
            days_ago,
            partition,
        )


def insert_attack(database: Database, accounts: int = 12, rating: int = 5) -> None:
    """Insert new accounts that rate one movie alike."""
    insert_ratings(database, [(f"9{n:03}", "movie-7+2000", rating) for n in range(accounts)], 1, 2)


def test_mark_suspects_honest_new_accounts_are_not_marked(database: Database) -> None:
    """New accounts that rate as the established ones are not suspects."""
    insert_honest(database)
    assert mark_suspects(database, NOW, FIVE_STARS) == 0


@pytest.mark.parametrize("rating", [1, 5])
def test_mark_suspects_attack_is_marked_once(database: Database, rating: int) -> None:
    """All accounts of an attack are marked at either end of the scale; a second run marks no one again."""
    insert_honest(database)
    insert_attack(database, rating=rating)
    assert mark_suspects(database, NOW, FIVE_STARS) >= 12
    marked = {user for (user,) in rows(database, SUSPECTS)}
    assert marked >= {f"9{n:03}" for n in range(12)}
    assert not marked & {f"{user}" for user in range(60)}
    assert mark_suspects(database, NOW, FIVE_STARS) == 0


def insert_sessions(database: Database, sessions: list[tuple[str, str]], days_ago: float) -> None:
    """Insert watch sessions of (user, movie) at one time."""
    at = NOW - timedelta(days=days_ago)
    with database.transaction() as cursor:
        cursor.executemany(
            "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute) "
            "VALUES (%s, %s, %s, %s, 0, 90) ON CONFLICT DO NOTHING",
            [(*session, at, at + timedelta(hours=2)) for session in sessions],
        )


@pytest.mark.parametrize("premiere", [False, True])
def test_mark_suspects_watches_alone_are_an_attack_unless_all_watch(database: Database, premiere: bool) -> None:
    """New accounts that watch a rare movie together are suspects; a premiere that the others watch too is not."""
    rng = np.random.default_rng(0)
    old = [(f"{user}", f"movie-{item}+2000") for user in range(60) for item in rng.choice(100, 20, replace=False)]
    insert_sessions(database, old, 30)
    target = "movie-premiere+2026"
    new = [(f"9{n:03}", f"movie-{item}+2000") for n in range(20) for item in rng.choice(100, 5, replace=False)]
    insert_sessions(database, [*new, *((f"9{n:03}", target) for n in range(20))], 1)
    if premiere:
        insert_sessions(database, [(f"{user}", target) for user in range(40)], 1)
    marked = mark_suspects(database, NOW, FIVE_STARS)
    expected = [] if premiere else [(f"9{n:03}", target, "watched") for n in range(20)]
    assert rows(database, "SELECT user_id, movie_id, level FROM suspect_accounts ORDER BY user_id") == expected
    assert marked == len(expected)
    assert mark_suspects(database, NOW, FIVE_STARS) == 0


def test_mark_suspects_several_movies_are_marked_together(database: Database) -> None:
    """Each movie's attackers are marked by their own level; who attacks two movies is marked for both."""
    insert_honest(database)
    insert_attack(database, 25)
    other = [(f"9{n:03}", "movie-8+2000", 1) for n in range(20, 35)]
    insert_ratings(database, other, 1, 3)
    mark_suspects(database, NOW, FIVE_STARS)
    found = rows(database, "SELECT user_id, movie_id, level FROM suspect_accounts WHERE user_id LIKE '9___'")
    assert {(user, movie) for user, movie, _ in found} == {
        *((f"9{n:03}", "movie-7+2000") for n in range(25)),
        *((user, movie) for user, movie, _ in other),
    }
    assert all(level in LEVELS[:2] if movie == "movie-7+2000" else level in LEVELS[2:] for _, movie, level in found)


def test_mark_suspects_repeated_ratings_of_one_account_count_once(database: Database) -> None:
    """One account that rates a movie a hundred times is one account."""
    insert_honest(database)
    insert_ratings(database, [("9000", "movie-7+2000", 5)] * 100, 1, 2)
    assert mark_suspects(database, NOW, FIVE_STARS) == 0


def test_mark_suspects_in_the_first_week_reads_no_events(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new installation has new accounts only: their events are not read for a comparison with no one."""
    insert_attack(database, 1_200)
    insert_sessions(database, [(f"9{n:03}", "movie-7+2000") for n in range(1_200)], 1)
    with monkeypatch.context() as patch:
        patch.setattr(suspect_accounts, "count_ratings", None)
        assert mark_suspects(database, NOW, FIVE_STARS) == 0
    insert_sessions(database, [("old", "movie-1+2000")], 9)
    assert mark_suspects(database, NOW, FIVE_STARS) == 0
    with monkeypatch.context() as patch:
        patch.setattr(suspect_accounts, "count_ratings", None)
        with pytest.raises(TypeError):
            mark_suspects(database, NOW, FIVE_STARS)


def test_read_database_leaves_suspects_out_until_they_are_cleared(database: Database) -> None:
    """Training does not see a suspect; it counts the rows that it left out, and sees a cleared account again."""
    insert_honest(database)
    insert_attack(database)
    mark_suspects(database, NOW, FIVE_STARS)
    n_suspects = len(rows(database, SUSPECTS))
    data = read_database(database, NOW)
    assert not set(data.ratings["user_id"]) & {f"9{n:03}" for n in range(12)}
    assert data.left_out["ratings: suspect account"] >= n_suspects
    with database.transaction() as cursor:
        cursor.execute("UPDATE suspect_accounts SET cleared = %s", (NOW,))
    data = read_database(database, NOW)
    assert set(data.ratings["user_id"]) >= {f"9{n:03}" for n in range(12)}
    assert "ratings: suspect account" not in data.left_out
    assert mark_suspects(database, NOW, FIVE_STARS) == 0


def test_task_checks_once_an_hour(database: Database, store: FileStore) -> None:
    """The check runs again after an hour, not with every run of the monitor."""
    insert_honest(database)
    task = SuspectAccounts(FIVE_STARS)
    assert task.run(database, store, NOW) == 0
    insert_attack(database)
    assert task.run(database, store, NOW + timedelta(minutes=59)) == 0
    assert task.run(database, store, NOW + timedelta(minutes=60)) >= 12


def test_find_targets_hit_that_all_rate_alike_is_no_target() -> None:
    """A new movie with many high ratings of new accounts passes if established accounts rate it as high."""
    others = [MovieRatings(f"m{n}", 20, (4, 12, 4, 2), 100, (20, 60, 20, 10)) for n in range(20)]
    hit = MovieRatings("hit", 80, (64, 76, 0, 0), 40, (32, 38, 0, 0))
    assert find_targets([*others, hit]) == []
    unlike = MovieRatings("unlike", 80, (80, 80, 0, 0), 40, (4, 12, 20, 10))
    assert {target.movie_id for target in find_targets([*others, unlike])} == {"unlike"}


def test_find_watched_targets_share_within_the_factor_is_no_target() -> None:
    """New accounts may prefer a movie; five times its share among the others is still no attack, fifty times is."""
    others = [MovieWatches(f"m{n}", 20, 20, 100) for n in range(100)]
    assert find_watched_targets([*others, MovieWatches("liked", 100, 20, 100)]) == []
    (target,) = find_watched_targets([*others, MovieWatches("pushed", 100, 1, 9)])
    assert (target.movie_id, target.level) == ("pushed", "watched")
    assert find_watched_targets([MovieWatches("m", 500, 9, 9)]) == []


def test_find_targets_without_established_accounts_reports_nothing() -> None:
    """A new installation has nothing to compare with."""
    assert find_targets([MovieRatings("m", 500, (500, 500, 0, 0), 9, (0, 0, 0, 0))]) == []


def test_log_tails_bound_exact_probabilities() -> None:
    """Chernoff's bounds are above the exact tails, and exact where all accounts agree."""
    scipy_stats = pytest.importorskip("scipy.stats")
    for n, p in ((9, 0.2), (30, 0.6)):
        for x in range(n + 1):
            assert log_binomial_tail(x, n, p) >= scipy_stats.binom.logsf(x - 1, n, p) - 1e-9
    assert log_binomial_tail(9, 9, 0.2) == pytest.approx(9 * np.log(0.2))
    for count in range(1, 40):
        assert log_poisson_tail(count, 4.0) >= scipy_stats.poisson.logsf(count - 1, 4.0) - 1e-9


def test_level_bounds_of_both_scales() -> None:
    """Levels follow the scale: 4 and 5 of 5 are liked, 8 to 10 of 10."""
    assert [level_bounds(level, 1, 5) for level in LEVELS] == [(5, 5), (4, 5), (1, 2), (1, 1)]
    assert level_bounds("liked", 1, 10)[0] == pytest.approx(7.75)
