"""Made customers: the same for one seed, learnable, never held."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from statistics import correlation, fmean

import pytest
from tests.simulate.small_service import NOON, made, taken

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.simulate.customers import SyntheticUsers
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.watch_plan import WatchSession


def test_one_seed_one_story() -> None:
    """The same seed gives the same events, another seed gives others."""
    story = [taken(ActiveSessions(made(seed=seed), 50, midway=True), 3_000) for seed in (7, 7, 8)]
    assert story[0] == story[1]
    assert story[0] != story[2]


def test_a_million_customers_take_no_room() -> None:
    """Memory depends on how many watch, not on how many there are: a megabyte for 200 of a million."""
    screens = ActiveSessions(made(users=1_000_000, movies=27_000), 200, midway=True)
    taken(screens, 20_000)  # Fills the caches, which are bounded.
    tracemalloc.start()
    try:
        for _ in range(20_000):
            screens.next(NOON)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_mix_of_the_recorded_logs() -> None:
    """About one line in two hundred is a rating; a watch session is about 110 lines; some accounts are created."""
    customers = made(users=20_000, movies=2_000)
    kinds = Counter(type(event) for event in taken(ActiveSessions(customers, 500, midway=True), 100_000))
    assert 0.003 < kinds[Rating] / 100_000 < 0.008
    assert kinds[AccountCreated] > 0
    lengths = [session.last_minute for session in sessions(customers, 2_000)]
    assert 95 < fmean(lengths) < 120


@pytest.mark.parametrize("rating_max", [5, 10])
def test_ratings_tell_of_taste(rating_max: int) -> None:
    """What the latent tastes say and what is rated go together, on the whole of either scale."""
    customers = made(rating_max=rating_max)
    rated = [v for v in sessions(customers, 3_000) if v.rating is not None]
    likings = [customers.taste.liking(v.user_id, v.movie_id) for v in rated]
    assert correlation(likings, [float(v.rating or 0) for v in rated]) > 0.5
    assert {v.rating for v in rated} == set(range(1, rating_max + 1))


def test_nobody_watches_two_movies_at_once() -> None:
    customers = made(users=2_000)
    watching = [session.user_id for session in (customers.begin() for _ in range(200)) if session]
    assert len(set(watching)) == 200


def test_some_movies_are_watched_far_more() -> None:
    counts = Counter(session.movie_id for session in sessions(made(), 5_000))
    top = sum(count for _, count in counts.most_common(50))
    assert top / 5_000 > 0.25


def test_user_ids_are_distinct() -> None:
    customers = made(users=997)
    assert {customers.user_id(rank) for rank in range(997)} == {str(n) for n in range(1, 998)}


def test_a_list_to_his_taste_is_followed_more_often() -> None:
    """Of 300 answers with the movies a customer likes best, more are begun than of those he likes least."""
    followed = {}
    for best in (True, False):
        customers = made()
        movies = {session.movie_id for session in sessions(made(), 400)}
        for number in range(300):
            user_id = customers.user_id(number)
            liked = sorted(movies, key=lambda f, u=user_id: customers.taste.liking(u, f), reverse=best)
            customers.recommend(number, user_id, liked[:5])
        followed[best] = sum(session.recommended for session in sessions(customers, 300))
    assert followed[True] > 2 * followed[False]


def test_without_influence_answers_change_nothing() -> None:
    quiet, told = made(influence=0.0), made(influence=0.0)
    told.recommend(0, told.user_id(0), [v.movie_id for v in sessions(made(), 20)])
    assert [quiet.begin() for _ in range(50)] == [told.begin() for _ in range(50)]


def test_unknown_movies_are_not_followed() -> None:
    customers = made()
    for number in range(100):
        customers.recommend(number, customers.user_id(number), ["no+such+film+1999", ""])
    assert not any(session.recommended for session in sessions(customers, 100))


def test_a_new_customer_creates_an_account_first() -> None:
    """An account's line comes before any other of its customer, who has an id that no other has."""
    first: dict[str, type] = {}
    events = taken(ActiveSessions(made(users=100), 40), 40_000)
    for event in events:
        first.setdefault(event.user_id, type(event))
    created = [event.user_id for event in events if isinstance(event, AccountCreated)]
    assert created
    assert all(first[user_id] is AccountCreated and int(user_id) > 100 for user_id in created)
    assert len(set(created)) == len(created)


def test_minutes_count_up_and_the_rating_comes_last() -> None:
    """Of one watch session from its beginning: every minute once, in order, then at most one rating."""
    screens = ActiveSessions(made(users=1_000_000), 20)
    seen: dict[tuple[str, str], list[int]] = {}
    for event in taken(screens, 10_000):
        if isinstance(event, Watch):
            seen.setdefault((event.user_id, event.movie_id), []).append(event.minute)
        elif isinstance(event, Rating):
            seen.pop((event.user_id, event.movie_id))
    assert all(minutes == list(range(len(minutes))) for minutes in seen.values())


def test_untidy_minutes_are_counted() -> None:
    """With untidiness some minutes are skipped and some repeated, just as many as the count says."""
    screens = ActiveSessions(made(users=1_000_000), 100, untidy=True)
    last: dict[tuple[str, str], int] = {}
    steps: Counter[int] = Counter()
    for event in taken(screens, 100_000):
        if isinstance(event, Watch):
            key = (event.user_id, event.movie_id)
            steps[event.minute - last.get(key, -1)] += 1
            last[key] = event.minute
    # A stumble shows with the line after it, which may not have come yet.
    assert 0 < steps[2] <= screens.missing
    assert 0 < steps[0] <= screens.repeated
    assert set(steps) <= {0, 1, 2}


def sessions(customers: SyntheticUsers, count: int) -> list[WatchSession]:
    """The next ``count`` watch sessions, each over at once."""
    found = []
    for _ in range(count):
        session = customers.begin()
        assert session is not None
        customers.end(session)
        found.append(session)
    return found
