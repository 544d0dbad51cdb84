"""Lines sorted by kind, and viewings folded, without any database."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from marquee.stream.events import Watch
from marquee.telemetry.sorting import fold, storable

_TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
_WATCHES = st.lists(
    st.builds(Watch, _TIMES, st.sampled_from("12"), st.sampled_from(["a+", "b+"]), st.integers(0, 99))
)


@given(watches=_WATCHES)
def test_fold_is_least_and_greatest(watches: list[Watch]) -> None:
    """Of times as texts it is that of the times, also where fractions of seconds are left out."""
    keys = {(watch.user_id, watch.movie_id) for watch in watches}
    expected = {}
    for key in keys:
        mine = [watch for watch in watches if (watch.user_id, watch.movie_id) == key]
        times, minutes = [watch.time for watch in mine], [watch.minute for watch in mine]
        expected[key] = [min(times).isoformat(), max(times).isoformat(), min(minutes), max(minutes)]
    assert fold(watches, [watch.time.isoformat() for watch in watches]) == expected


@given(text=st.text(st.characters()))
def test_storable_text_holds_nothing_that_postgresql_cannot(text: str) -> None:
    kept = storable(text)
    assert "\0" not in kept
    kept.encode()
