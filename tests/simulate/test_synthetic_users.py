"""Synthetic users: reproducible, learnable, and without memory per user."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from statistics import correlation, fmean

import pytest
from tests.simulate.small_service import NOON, synthetic_users, take_events

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.synthetic_users import SyntheticUsers
from marquee.simulate.watch_plan import PlannedSession


def test_active_sessions_same_seed_gives_same_events() -> None:
    """The same seed gives the same events, another seed gives others."""
    events = [take_events(ActiveSessions(synthetic_users(seed=seed), 50, midway=True), 3_000) for seed in (7, 7, 8)]
    assert events[0] == events[1]
    assert events[0] != events[2]


def test_active_sessions_million_users_take_constant_memory() -> None:
    """Memory depends on the active sessions, not on the users: under 2 MB for 200 of a million."""
    active = ActiveSessions(synthetic_users(users=1_000_000, movies=27_000), 200, midway=True)
    take_events(active, 20_000)  # Fills the caches, which are bounded.
    tracemalloc.start()
    try:
        for _ in range(20_000):
            active.next_event(NOON)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_active_sessions_mix_of_events_matches_recorded_logs() -> None:
    """One record in 200 is a rating, a watch session has about 110 records, and accounts are created."""
    users = synthetic_users(users=20_000, movies=2_000)
    kinds = Counter(type(event) for event in take_events(ActiveSessions(users, 500, midway=True), 100_000))
    assert 0.003 < kinds[Rating] / 100_000 < 0.008
    assert kinds[AccountCreated] > 0
    lengths = [session.last_minute for session in take_sessions(users, 2_000)]
    assert 95 < fmean(lengths) < 120


@pytest.mark.parametrize("scale", [FIVE_STARS, LogScale(1, 10), LogScale(0.5, 5), LogScale(0, 10)], ids=str)
def test_start_session_ratings_follow_preferences(scale: LogScale) -> None:
    """Ratings correlate with the latent preferences and use the whole scale."""
    users = synthetic_users(scale=scale)
    rated = [session for session in take_sessions(users, 3_000) if session.rating is not None]
    expected = [users.preferences.expected_rating(s.user_id, s.movie_id) for s in rated]
    assert correlation(expected, [float(s.rating or 0) for s in rated]) > 0.5
    assert {s.rating for s in rated} == set(scale.ratings)


def test_start_session_user_watches_one_movie_at_a_time() -> None:
    """No user is in two concurrent sessions."""
    users = synthetic_users(users=2_000)
    watching = [session.user_id for session in (users.start_session() for _ in range(200)) if session]
    assert len(set(watching)) == 200


def test_start_session_popular_movies_dominate() -> None:
    """The 50 most watched of 500 movies get more than a quarter of the sessions."""
    counts = Counter(session.movie_id for session in take_sessions(synthetic_users(), 5_000))
    top = sum(count for _, count in counts.most_common(50))
    assert top / 5_000 > 0.25


def test_user_id_all_ranks_are_distinct() -> None:
    """The ids of all ranks are the numbers from 1 to the number of users."""
    users = synthetic_users(users=997)
    assert {users.user_id(rank) for rank in range(997)} == {str(n) for n in range(1, 998)}


def test_receive_recommendation_preferred_movies_are_followed_more_often() -> None:
    """Lists of the most preferred movies start more sessions than lists of the least preferred ones."""
    followed = {}
    for best_first in (True, False):
        users = synthetic_users()
        movies = {session.movie_id for session in take_sessions(synthetic_users(), 400)}
        for number in range(300):
            user_id = users.user_id(number)
            ranked = sorted(
                movies, key=lambda m, u=user_id: users.preferences.expected_rating(u, m), reverse=best_first
            )
            users.receive_recommendation(number, user_id, ranked[:5])
        followed[best_first] = sum(session.recommended for session in take_sessions(users, 300))
    assert followed[True] > 2 * followed[False]


def test_receive_recommendation_without_influence_changes_nothing() -> None:
    """With influence 0 the sessions are the same with and without recommendations."""
    control, treated = synthetic_users(influence=0.0), synthetic_users(influence=0.0)
    movie_ids = [session.movie_id for session in take_sessions(synthetic_users(), 20)]
    treated.receive_recommendation(0, treated.user_id(0), movie_ids)
    assert [control.start_session() for _ in range(50)] == [treated.start_session() for _ in range(50)]


def test_receive_recommendation_unknown_movies_are_ignored() -> None:
    """Movies that the catalog does not have start no session."""
    users = synthetic_users()
    for number in range(100):
        users.receive_recommendation(number, users.user_id(number), ["no+such+film+1999", ""])
    assert not any(session.recommended for session in take_sessions(users, 100))


def test_active_sessions_new_user_creates_account_first() -> None:
    """The account is the first record of a new user, whose id no other user has."""
    first: dict[str, type] = {}
    events = take_events(ActiveSessions(synthetic_users(users=100), 40), 40_000)
    for event in events:
        first.setdefault(event.user_id, type(event))
    created = [event.user_id for event in events if isinstance(event, AccountCreated)]
    assert created
    assert all(first[user_id] is AccountCreated and int(user_id) > 100 for user_id in created)
    assert len(set(created)) == len(created)


def test_active_sessions_rating_follows_all_minutes_in_order() -> None:
    """A session has every minute once, in order from 0, and then at most one rating."""
    active = ActiveSessions(synthetic_users(users=1_000_000), 20)
    watched: dict[tuple[str, str], list[int]] = {}
    for event in take_events(active, 10_000):
        if isinstance(event, Watch):
            watched.setdefault((event.user_id, event.movie_id), []).append(event.minute)
        elif isinstance(event, Rating):
            watched.pop((event.user_id, event.movie_id))
    assert all(minutes == list(range(len(minutes))) for minutes in watched.values())


def test_active_sessions_irregular_minutes_are_counted() -> None:
    """With ``irregular`` some minutes are skipped and some repeated, no more than the counts say."""
    active = ActiveSessions(synthetic_users(users=1_000_000), 100, irregular=True)
    last: dict[tuple[str, str], int] = {}
    steps: Counter[int] = Counter()
    for event in take_events(active, 100_000):
        if isinstance(event, Watch):
            key = (event.user_id, event.movie_id)
            steps[event.minute - last.get(key, -1)] += 1
            last[key] = event.minute
    # An irregularity shows in the next record, which may not have been taken yet.
    assert 0 < steps[2] <= active.minutes_missing
    assert 0 < steps[0] <= active.minutes_repeated
    assert set(steps) <= {0, 1, 2}


def take_sessions(users: SyntheticUsers, count: int) -> list[PlannedSession]:
    """Return the next ``count`` watch sessions, each ended at once."""
    sessions = []
    for _ in range(count):
        session = users.start_session()
        assert session is not None
        users.end_session(session)
        sessions.append(session)
    return sessions
