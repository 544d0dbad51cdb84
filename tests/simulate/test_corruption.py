"""Corruption of records, and the account of it."""

from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.events.kinds import Category, MalformedRecord, Rating, Watch
from marquee.events.parser import EventParser
from marquee.simulate.corruption import Corrupter, CorruptionKind

PARSER = EventParser(ZoneInfo("UTC"))
WATCH = "2022-11-14T12:24,232596,GET /data/m/fight+club+1999/128.mpg"
RATING = "2019-09-05T19:27:01,118106,GET /rate/gladiator+1992+1992=3"
TIMEOUT = (
    "2023-04-23T23:46:18.872015,698809,recommendation request team12.example.edu:8082, status 0, result: "
    "java.util.concurrent.TimeoutException: Request timeout to x/192.0.2.130:8082 after 800 ms, 832 ms"
)
RECOMMENDATION = "2026-02-14T00:09:21,1,recommendation request a:80, status 200, result: a+1999, endeavour+, 12 ms"
ACCOUNT = "2026-02-14T00:09:21,130276,GET /create_account"
RECORDS = st.sampled_from([WATCH, RATING, TIMEOUT, RECOMMENDATION, ACCOUNT])


def make_corrupter(rate: float = 1.0, seed: int = 1) -> Corrupter:
    return Corrupter(rate, PARSER, lambda movie_id: movie_id in ("fight+club+1999", "a+1999"), seed)


@given(RECORDS, st.sampled_from(CorruptionKind), st.integers())
def test_corrupt_as_any_kind_has_the_category_of_the_parser(text: str, kind: CorruptionKind, seed: int) -> None:
    """A corrupted record differs from the original and has the category that the parser gives it."""
    corrupted = make_corrupter(seed=seed).corrupt_as(kind, text)
    assert corrupted.raw != text.encode()
    try:
        parsed = PARSER.parse(corrupted.raw.decode())
        assert corrupted.category == (parsed.category if isinstance(parsed, MalformedRecord) else None)
    except UnicodeDecodeError:
        assert (corrupted.kind, corrupted.category) == (CorruptionKind.NOT_UTF8, Category.ENCODING)


@given(RECORDS, st.integers())
def test_corrupt_as_inserted_adds_one_character(text: str, seed: int) -> None:
    """One blank, letter or digit is inserted, and nothing else changes."""
    corrupted = make_corrupter(seed=seed).corrupt_as(CorruptionKind.INSERTED, text).raw.decode()
    positions = [n for n in range(len(corrupted)) if corrupted[:n] + corrupted[n + 1 :] == text]
    assert positions
    assert corrupted[positions[0]] == " " or corrupted[positions[0]].isalnum()


@given(RECORDS, st.integers())
def test_corrupt_as_not_utf8_cannot_be_decoded(text: str, seed: int) -> None:
    """The bytes are not valid UTF-8."""
    raw = make_corrupter(seed=seed).corrupt_as(CorruptionKind.NOT_UTF8, text).raw
    with pytest.raises(UnicodeDecodeError):
        raw.decode()


@given(st.sampled_from([WATCH, RATING]), st.integers())
def test_corrupt_as_random_id_is_not_a_movie_id(text: str, seed: int) -> None:
    """The movie id is replaced by 10 to 53 letters and digits, which the parser rejects."""
    corrupted = make_corrupter(seed=seed).corrupt_as(CorruptionKind.RANDOM_ID, text)
    assert corrupted.category is Category.MOVIE_ID
    original_id = "fight+club+1999" if text == WATCH else "gladiator+1992+1992"
    assert 10 <= len(corrupted.raw) - len(text) + len(original_id) <= 53


@given(RECORDS, st.integers())
def test_corrupt_as_user_digit_is_silent(text: str, seed: int) -> None:
    """The record parses as the same event of another user."""
    corrupted = make_corrupter(seed=seed).corrupt_as(CorruptionKind.USER_DIGIT, text)
    original, parsed = PARSER.parse(text), PARSER.parse(corrupted.raw.decode())
    assert corrupted.category is None
    assert not isinstance(original, MalformedRecord)
    assert not isinstance(parsed, MalformedRecord)
    assert type(parsed) is type(original)
    assert len(parsed.user_id) == len(original.user_id) + 1


@given(st.sampled_from([WATCH, RATING]), st.integers())
def test_corrupt_as_movie_letter_is_silent_and_unknown(text: str, seed: int) -> None:
    """The record parses as the same event of a movie that the catalog does not have."""
    corrupted = make_corrupter(seed=seed).corrupt_as(CorruptionKind.MOVIE_LETTER, text)
    original, parsed = PARSER.parse(text), PARSER.parse(corrupted.raw.decode())
    assert (corrupted.kind, corrupted.category) == (CorruptionKind.MOVIE_LETTER, None)
    assert isinstance(original, Watch | Rating)
    assert isinstance(parsed, Watch | Rating)
    assert parsed.user_id == original.user_id
    assert len(parsed.movie_id) == len(original.movie_id) + 1


def test_corrupt_same_seed_corrupts_the_same_records() -> None:
    """Equal seeds give equal corruption, different seeds different corruption."""
    results = [
        [corrupter.corrupt(WATCH) for _ in range(2_000)]
        for corrupter in (make_corrupter(0.01, seed) for seed in (5, 5, 6))
    ]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("rate", [0.0, 0.0008, 0.1, 1.0])
def test_corrupt_many_records_matches_the_rate(rate: float) -> None:
    """The number of corrupted records is within four standard deviations of the rate."""
    corrupter = make_corrupter(rate)
    count = sum(corrupter.corrupt(WATCH) is not None for _ in range(50_000))
    assert abs(count - 50_000 * rate) <= 4 * (50_000 * rate) ** 0.5


def test_corrupt_many_records_uses_all_kinds() -> None:
    """All kinds occur, insertions most often."""
    kinds = Counter(record.kind for record in map(make_corrupter().corrupt, [WATCH] * 1_000) if record)
    assert set(kinds) == set(CorruptionKind)
    assert kinds.most_common(1)[0][0] is CorruptionKind.INSERTED


def test_corrupter_rate_above_one_is_refused() -> None:
    """The error names the valid range."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        make_corrupter(1.5)
