"""The replay: every later rating lived again, once, each user's in the order of the base data."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulate.small_service import some_rows, taken, write_base

from marquee.errors import TrainingDataError
from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.simulate.replay import (
    Replay,
    ReplayedRating,
    ReplaySplit,
    read_replayed,
    split_base_data,
)
from marquee.simulate.sessions import ActiveSessions, UserEvent

EVERYTHING = 100_000


def base_of(rows: list[ReplayedRating], known: frozenset[str] = frozenset()) -> ReplaySplit:
    return ReplaySplit(tuple(rows), known, frozenset(row.movie_id for row in rows))


def replayed(replay: Replay, at_once: int = 3) -> list[UserEvent]:
    return taken(ActiveSessions(replay, at_once), EVERYTHING)


def ratings_by_user(events: list[UserEvent]) -> dict[str, list[tuple[str, int]]]:
    found = defaultdict(list)
    for event in events:
        if isinstance(event, Rating):
            found[event.user_id].append((event.movie_id, event.rating))
    return found


def test_the_later_fifth_is_read(tmp_path: Path) -> None:
    """The cut lies at a time; users who had rated before it are known, and the catalogue is whole."""
    base = split_base_data(write_base(tmp_path, reversed(some_rows())))
    assert base.later == tuple(some_rows()[32:])
    assert base.known_users == {"100", "101", "102", "103", "104"}
    assert len(base.movie_ids) == 8


def test_ratings_of_the_second_of_the_cut_are_later_ones(tmp_path: Path) -> None:
    """So whoever trains on what lies before that time sees none of what is replayed."""
    rows = [ReplayedRating("1", f"film+{n}+1999", 3, 10 + n // 4) for n in range(10)]
    assert {row.time for row in split_base_data(write_base(tmp_path, rows), fraction=0.3).later} == {11, 12}


def test_a_later_run_goes_on_where_one_ended(tmp_path: Path) -> None:
    """What was replayed is left out, and its users are no newcomers; when that is all, it begins anew."""
    path = write_base(tmp_path, some_rows())
    later = split_base_data(path).later
    done = tmp_path / "replayed.csv"
    for count in (3, len(later)):
        lines = [f"{row.user_id},{row.movie_id}\n" for row in later[-count:]]
        done.write_text("user_id,movie_id\n" + "".join(lines))
        again = split_base_data(path, replayed=read_replayed(done))
        assert again.later == (later[:-count] or later)
        assert again.known_users >= {row.user_id for row in later[-count:]}


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_every_rating_once_in_each_users_order(at_once: int) -> None:
    rows = some_rows()
    found = ratings_by_user(replayed(Replay(base_of(rows), seed=1), at_once))
    for user_id in {row.user_id for row in rows}:
        assert found[user_id] == [(row.movie_id, row.rating) for row in rows if row.user_id == user_id]


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 6))
def test_any_order_of_users_is_replayed_whole(users: list[str], at_once: int) -> None:
    """Whoever rates how much and when: nothing is left out, and it comes to an end."""
    rows = [ReplayedRating(user, f"film+{n}+1999", 3, n) for n, user in enumerate(users)]
    replay = Replay(base_of(rows), seed=1)
    found = ratings_by_user(replayed(replay, at_once))
    assert sum(map(len, found.values())) == len(rows)
    assert replay.over


def test_a_session_is_its_minutes_and_then_the_rating() -> None:
    """About 110 watch lines from minute 0 on, one for each minute, and the rating after the last."""
    events = replayed(Replay(base_of(some_rows(users=20, movies=20)), seed=1))
    watched: Counter[tuple[str, str]] = Counter()
    lengths = []
    for event in events:
        if isinstance(event, Watch):
            assert event.minute == watched[event.user_id, event.movie_id]
            watched[event.user_id, event.movie_id] += 1
        elif isinstance(event, Rating):
            lengths.append(watched.pop((event.user_id, event.movie_id)))
    assert not watched
    assert 100 < sum(lengths) / len(lengths) < 120


def test_a_user_watches_one_movie_at_a_time() -> None:
    watching: dict[str, str] = {}
    for event in replayed(Replay(base_of(some_rows()), seed=1), at_once=50):
        if isinstance(event, Watch):
            assert watching.setdefault(event.user_id, event.movie_id) == event.movie_id
        elif isinstance(event, Rating):
            del watching[event.user_id]


def test_one_seed_one_story() -> None:
    story = [replayed(Replay(base_of(some_rows()), seed=seed)) for seed in (1, 1, 2)]
    assert story[0] == story[1]
    assert story[0] != story[2]


def test_who_is_new_creates_an_account_first() -> None:
    """Users of whom the earlier data know nothing join; the others are customers already."""
    events = replayed(Replay(base_of(some_rows(), known=frozenset({"100", "101"})), seed=1))
    created = [event.user_id for event in events if isinstance(event, AccountCreated)]
    assert sorted(created) == ["102", "103", "104"]


def test_the_scale_of_ten_doubles() -> None:
    found = ratings_by_user(replayed(Replay(base_of(some_rows()), seed=1, rating_max=10)))
    assert {rating for rated in found.values() for _, rating in rated} == {2, 4, 6, 8, 10}


def test_a_recommended_movie_comes_next() -> None:
    """When a movie that is still to come is recommended, it comes first; nothing is lost by it."""
    rows = [row for row in some_rows() if row.user_id == "100"]
    replay = Replay(base_of(rows), seed=1, influence=1.0)
    replay.recommend(0, "100", ["unknown+2000", "film+5+1999", "film+6+1999"])
    screens = ActiveSessions(replay, 3)
    order = [movie_id for movie_id, _ in ratings_by_user(taken(screens, EVERYTHING))["100"]]
    assert screens.recommended == 1
    assert order == [f"film+{n}+1999" for n in (5, 0, 1, 2, 3, 4, 6, 7)]


def test_influence_is_the_share_that_looks() -> None:
    moved = 0
    for number in range(400):
        replay = Replay(base_of(some_rows()), seed=1, influence=0.25)
        replay.recommend(number, "100", ["film+7+1999"])
        session = replay.begin()
        moved += session is not None and session.movie_id == "film+7+1999"
    assert 60 < moved < 140


def test_extra_sessions_have_no_rating() -> None:
    """Asked for, a recommended movie that the data do not hold is watched, and not rated."""
    rows = some_rows()
    base = base_of(rows)._replace(movie_ids=frozenset({"other+1999"}))
    replay = Replay(base, seed=1, influence=1.0, extra=True)
    replay.recommend(0, "100", ["unknown+2000", "other+1999"])
    events = replayed(replay)
    assert any(isinstance(event, Watch) and event.movie_id == "other+1999" for event in events)
    assert sum(map(len, ratings_by_user(events).values())) == len(rows)


def test_requests_come_from_those_who_watch() -> None:
    replay = Replay(base_of(some_rows()), seed=1)
    assert {replay.asks(number) for number in range(200)} == {"100", "101", "102", "103", "104"}


def test_missing_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="marquee data fetch"):
        split_base_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,movie_id,rating,time\n", "holds no rating"),
        ("user_id,movie_id,time\n1,a+1999,3\n", "no column rating"),
        ("user_id,movie_id,rating,time\n1,a+1999,good,3\n", "is not a rating"),
        ("user_id,movie_id,rating,time\n1,a+1999\n", "is not a rating"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, text: str, said: str) -> None:
    write_base(tmp_path, some_rows())
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(TrainingDataError, match=said):
        split_base_data(tmp_path)
