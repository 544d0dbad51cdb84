"""The replay: every later rating once, each user's in the order of the base data."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulate.small_service import sample_ratings, take_events, write_base_data

from marquee.config.base_data import BaseRating
from marquee.errors import TrainingDataError
from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.events.log_scale import LogScale
from marquee.simulate.replay import Replay, ReplaySplit, read_replayed, split_base_data
from marquee.simulate.sessions import ActiveSessions, UserEvent

ALL_EVENTS = 100_000


def make_split(rows: list[BaseRating], known: frozenset[str] = frozenset()) -> ReplaySplit:
    return ReplaySplit(tuple(rows), known, frozenset(row.movie_id for row in rows))


def replay_all(replay: Replay, concurrency: int = 3) -> list[UserEvent]:
    return take_events(ActiveSessions(replay, concurrency), ALL_EVENTS)


def ratings_by_user(events: list[UserEvent]) -> dict[str, list[tuple[str, float]]]:
    ratings = defaultdict(list)
    for event in events:
        if isinstance(event, Rating):
            ratings[event.user_id].append((event.movie_id, event.rating))
    return ratings


def test_split_base_data_reads_the_latest_fifth(tmp_path: Path) -> None:
    """The split is at a time; users with earlier ratings are known, and the catalog is complete."""
    split = split_base_data(write_base_data(tmp_path, reversed(sample_ratings())))
    assert split.later == tuple(sample_ratings()[32:])
    assert split.known_users == {"100", "101", "102", "103", "104"}
    assert len(split.movie_ids) == 8


def test_split_base_data_ratings_in_the_second_of_the_split_are_later(tmp_path: Path) -> None:
    """A model trained on the ratings before that second has seen none of the replayed ones."""
    rows = [BaseRating("1", f"film+{n}+1999", 3, 10 + n // 4) for n in range(10)]
    split = split_base_data(write_base_data(tmp_path, rows), fraction=0.3)
    assert {row.time for row in split.later} == {11, 12}


def test_split_base_data_replayed_ratings_are_left_out(tmp_path: Path) -> None:
    """A later run continues where an earlier one ended; if nothing remains, it starts again."""
    path = write_base_data(tmp_path, sample_ratings())
    later = split_base_data(path).later
    file = tmp_path / "replayed.csv"
    for count in (3, len(later)):
        lines = [f"{row.user_id},{row.movie_id}\n" for row in later[-count:]]
        file.write_text("user_id,movie_id\n" + "".join(lines))
        split = split_base_data(path, replayed=read_replayed(file))
        assert split.later == (later[:-count] or later)
        assert split.known_users >= {row.user_id for row in later[-count:]}


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_replay_any_concurrency_keeps_each_users_order(concurrency: int) -> None:
    """Every rating occurs once, in the order of its user."""
    rows = sample_ratings()
    ratings = ratings_by_user(replay_all(Replay(make_split(rows), seed=1), concurrency))
    for user_id in {row.user_id for row in rows}:
        assert ratings[user_id] == [(row.movie_id, row.rating) for row in rows if row.user_id == user_id]


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 6))
def test_replay_any_order_of_users_is_complete(users: list[str], concurrency: int) -> None:
    """No rating is left out, and the replay ends."""
    rows = [BaseRating(user, f"film+{n}+1999", 3, n) for n, user in enumerate(users)]
    replay = Replay(make_split(rows), seed=1)
    ratings = ratings_by_user(replay_all(replay, concurrency))
    assert sum(map(len, ratings.values())) == len(rows)
    assert replay.finished


def test_replay_session_has_all_minutes_then_the_rating() -> None:
    """A session has about 110 watches, one per minute from 0 on, and the rating after the last."""
    events = replay_all(Replay(make_split(sample_ratings(users=20, movies=20)), seed=1))
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


def test_replay_user_watches_one_movie_at_a_time() -> None:
    """A user's sessions never overlap."""
    watching: dict[str, str] = {}
    for event in replay_all(Replay(make_split(sample_ratings()), seed=1), concurrency=50):
        if isinstance(event, Watch):
            assert watching.setdefault(event.user_id, event.movie_id) == event.movie_id
        elif isinstance(event, Rating):
            del watching[event.user_id]


def test_replay_same_seed_gives_same_events() -> None:
    """The same seed gives the same events, another seed gives others."""
    events = [replay_all(Replay(make_split(sample_ratings()), seed=seed)) for seed in (1, 1, 2)]
    assert events[0] == events[1]
    assert events[0] != events[2]


def test_replay_new_user_creates_account_first() -> None:
    """Users without earlier ratings create an account; known users do not."""
    split = make_split(sample_ratings(), known=frozenset({"100", "101"}))
    events = replay_all(Replay(split, seed=1))
    created = [event.user_id for event in events if isinstance(event, AccountCreated)]
    assert sorted(created) == ["102", "103", "104"]


@pytest.mark.parametrize(
    ("scale", "ratings", "logged"),
    [
        ((1.0, 5.0), (1, 2, 3, 4, 5), [1, 3, 6, 8, 10]),
        ((0.5, 5.0), (0.5, 1, 2.5, 4.5, 5), [1, 2, 5, 9, 10]),
        ((0.0, 10.0), (0, 1, 5, 9, 10), [1, 2, 6, 9, 10]),
        ((0.0, 1.0), (0, 1), [1, 10]),
    ],
    ids=["stars", "half stars", "0 to 10", "likes"],
)
def test_replay_scale_of_ten_is_that_of_training(
    scale: tuple[float, float], ratings: tuple[float, ...], logged: list[int]
) -> None:
    """The log has each rating where training maps it to, rounded: half stars without loss."""
    rows = [BaseRating("1", f"film+{n}+1999", rating, n) for n, rating in enumerate(ratings)]
    events = replay_all(Replay(make_split(rows)._replace(scale=scale), seed=1, scale=LogScale(1, 10)))
    assert sorted(rating for _, rating in ratings_by_user(events)["1"]) == logged


def test_receive_recommendation_remaining_movie_comes_next() -> None:
    """The first recommended movie that the user has yet to watch comes next; no rating is lost."""
    rows = [row for row in sample_ratings() if row.user_id == "100"]
    replay = Replay(make_split(rows), seed=1, influence=1.0)
    replay.receive_recommendation(0, "100", ["unknown+2000", "film+5+1999", "film+6+1999"])
    sessions = ActiveSessions(replay, 3)
    order = [movie_id for movie_id, _ in ratings_by_user(take_events(sessions, ALL_EVENTS))["100"]]
    assert sessions.recommended == 1
    assert order == [f"film+{n}+1999" for n in (5, 0, 1, 2, 3, 4, 6, 7)]


def test_receive_recommendation_influence_is_the_fraction_considered() -> None:
    """With influence 0.25 about a quarter of the recommendations change the order."""
    followed = 0
    for number in range(400):
        replay = Replay(make_split(sample_ratings()), seed=1, influence=0.25)
        replay.receive_recommendation(number, "100", ["film+7+1999"])
        session = replay.start_session()
        followed += session is not None and session.movie_id == "film+7+1999"
    assert 60 < followed < 140


def test_receive_recommendation_extra_session_has_no_rating() -> None:
    """With extra sessions a recommended movie that the user did not rate is watched and not rated."""
    rows = sample_ratings()
    split = make_split(rows)._replace(movie_ids=frozenset({"other+1999"}))
    replay = Replay(split, seed=1, influence=1.0, extra_sessions=True)
    replay.receive_recommendation(0, "100", ["unknown+2000", "other+1999"])
    events = replay_all(replay)
    assert any(isinstance(event, Watch) and event.movie_id == "other+1999" for event in events)
    assert sum(map(len, ratings_by_user(events).values())) == len(rows)


def test_requesting_user_is_a_replayed_user() -> None:
    """All users of the replay request recommendations, and no others."""
    replay = Replay(make_split(sample_ratings()), seed=1)
    users = {replay.requesting_user(number) for number in range(200)}
    assert users == {"100", "101", "102", "103", "104"}


def test_split_base_data_missing_data_names_the_command(tmp_path: Path) -> None:
    """The error says how to get the data."""
    with pytest.raises(TrainingDataError, match="marquee data fetch"):
        split_base_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,movie_id,rating,time\n", "holds no rating"),
        ("user_id,movie_id,time\n1,a+1999,3\n", "no column rating"),
        ("user_id,movie_id,rating,time\n1,a+1999,good,3\n", "1 of 1 ratings are unreadable"),
        ("user_id,movie_id,rating,time\n1,a+1999\n", "1 of 1 ratings are unreadable"),
    ],
)
def test_split_base_data_malformed_ratings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """The error names the missing column, or the row that is not a rating."""
    write_base_data(tmp_path, sample_ratings())
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(TrainingDataError, match=message):
        split_base_data(tmp_path)
