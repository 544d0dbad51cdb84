"""Corruption: what was done to a line is what is remembered of it."""

from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.events.kinds import Category, MalformedRecord, Rating, Watch
from marquee.events.parser import EventParser
from marquee.simulate.corruption import Corrupter, CorruptionKind

PARSER = EventParser(ZoneInfo("UTC"), 5)
WATCH = "2022-11-14T12:24,232596,GET /data/m/fight+club+1999/128.mpg"
RATE = "2019-09-05T19:27:01,118106,GET /rate/gladiator+1992+1992=3"
ASK = (
    "2023-04-23T23:46:18.872015,698809,recommendation request team12.example.edu:8082, status 0, result: "
    "java.util.concurrent.TimeoutException: Request timeout to x/192.0.2.130:8082 after 800 ms, 832 ms"
)
ANSWER = "2026-02-14T00:09:21,1,recommendation request a:80, status 200, result: a+1999, endeavour+, 12 ms"
ACCOUNT = "2026-02-14T00:09:21,130276,GET /create_account"
LINES = st.sampled_from([WATCH, RATE, ASK, ANSWER, ACCOUNT])


def corrupter(rate: float = 1.0, seed: int = 1) -> Corrupter:
    return Corrupter(rate, PARSER, lambda movie_id: movie_id in ("fight+club+1999", "a+1999"), seed)


@given(LINES, st.sampled_from(CorruptionKind), st.integers())
def test_the_category_is_what_the_parser_says(text: str, kind: CorruptionKind, seed: int) -> None:
    """A spoiled line is one that differs, and its account says where the parser puts it."""
    spoiled = corrupter(seed=seed).spoil_as(kind, text)
    assert spoiled.line != text.encode()
    try:
        read = PARSER.parse(spoiled.line.decode())
        assert spoiled.category == (read.category if isinstance(read, MalformedRecord) else None)
    except UnicodeDecodeError:
        assert (spoiled.kind, spoiled.category) == (CorruptionKind.NOT_UTF8, Category.ENCODING)


@given(LINES, st.integers())
def test_an_insertion_is_one_blank_letter_or_digit(text: str, seed: int) -> None:
    spoiled = corrupter(seed=seed).spoil_as(CorruptionKind.INSERTED, text).line.decode()
    places = [n for n in range(len(spoiled)) if spoiled[:n] + spoiled[n + 1 :] == text]
    assert places
    assert spoiled[places[0]] == " " or spoiled[places[0]].isalnum()


@given(LINES, st.integers())
def test_bytes_that_are_no_text(text: str, seed: int) -> None:
    line = corrupter(seed=seed).spoil_as(CorruptionKind.NOT_UTF8, text).line
    with pytest.raises(UnicodeDecodeError):
        line.decode()


@given(st.sampled_from([WATCH, RATE]), st.integers())
def test_a_random_id_is_no_movie_id(text: str, seed: int) -> None:
    """10 to 53 letters and digits in its place; the parser must not take them for a movie."""
    spoiled = corrupter(seed=seed).spoil_as(CorruptionKind.RANDOM_ID, text)
    assert spoiled.category is Category.MOVIE_ID
    assert (
        10
        <= len(spoiled.line) - len(text) + len("fight+club+1999" if text == WATCH else "gladiator+1992+1992")
        <= 53
    )


@given(LINES, st.integers())
def test_a_digit_more_is_silent(text: str, seed: int) -> None:
    """The line reads as the same event of another user."""
    spoiled = corrupter(seed=seed).spoil_as(CorruptionKind.USER_DIGIT, text)
    meant, read = PARSER.parse(text), PARSER.parse(spoiled.line.decode())
    assert spoiled.category is None
    assert not isinstance(meant, MalformedRecord)
    assert type(read) is type(meant)
    assert len(read.user_id) == len(meant.user_id) + 1


@given(st.sampled_from([WATCH, RATE]), st.integers())
def test_a_letter_more_is_silent_and_unknown(text: str, seed: int) -> None:
    """The line reads as the same event of a movie that the catalogue does not have."""
    spoiled = corrupter(seed=seed).spoil_as(CorruptionKind.MOVIE_LETTER, text)
    meant, read = PARSER.parse(text), PARSER.parse(spoiled.line.decode())
    assert (spoiled.kind, spoiled.category) == (CorruptionKind.MOVIE_LETTER, None)
    assert isinstance(meant, Watch | Rating)
    assert isinstance(read, Watch | Rating)
    assert read.user_id == meant.user_id
    assert len(read.movie_id) == len(meant.movie_id) + 1


def test_the_same_lines_are_spoiled_for_one_seed() -> None:
    spoilt = [
        [corrupt.spoil(WATCH) for _ in range(2_000)]
        for corrupt in (corrupter(0.01, seed) for seed in (5, 5, 6))
    ]
    assert spoilt[0] == spoilt[1] != spoilt[2]


@pytest.mark.parametrize("rate", [0.0, 0.0008, 0.1, 1.0])
def test_the_rate_is_kept(rate: float) -> None:
    corrupt = corrupter(rate)
    hit = sum(corrupt.spoil(WATCH) is not None for _ in range(50_000))
    assert abs(hit - 50_000 * rate) <= 4 * (50_000 * rate) ** 0.5


def test_all_kinds_come() -> None:
    kinds = Counter(spoiled.kind for spoiled in map(corrupter().spoil, [WATCH] * 1_000) if spoiled)
    assert set(kinds) == set(CorruptionKind)
    assert kinds.most_common(1)[0][0] is CorruptionKind.INSERTED


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        corrupter(1.5)
