"""Tests of the parameters of a request: values, defaults, and errors that say what is valid."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import InvalidRequest
from marquee.serving.list_request import PLAIN, ListRequest, Rules
from marquee.serving.request_parameters import (
    PARAMETERS,
    RECOMMEND_PARAMETERS,
    SIMILAR_PARAMETERS,
    parse_list_request,
)


def test_parse_list_request_all_parameters_have_their_types() -> None:
    """Names are in lower case and sorted, so that equal rules are equal."""
    request = parse_list_request(
        "n=5&exclude=fargo+1996,brazil%2B1985&genre=Sci-Fi,drama,-horror&year=1980..1999&language=fr,EN&max_age=12"
        "&max_cost=0.5&diversity=0.3&calibrated=on&page=abc&profile=off&explain=3"
    )
    assert request == ListRequest(
        n=5,
        exclude=("fargo+1996", "brazil+1985"),
        rules=Rules(("drama", "sci-fi"), ("horror",), 1980, 1999, ("en", "fr"), 12, 0.5),
        diversity=0.3,
        calibrated=True,
        page="abc",
        profile=False,
        explain=3,
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("1999", (1999, 1999)), ("1980..", (1980, None)), ("..1999", (None, 1999))]
)
def test_parse_list_request_year_range_may_be_open(text: str, expected: tuple[int | None, int | None]) -> None:
    """A single year is a range of one."""
    rules = parse_list_request(f"year={text}").rules
    assert (rules.year_min, rules.year_max) == expected


def test_parse_list_request_nothing_is_the_plain_request() -> None:
    """No query and a query without parameters."""
    assert parse_list_request("") is PLAIN
    assert parse_list_request("&") == PLAIN


@pytest.mark.parametrize(
    "query",
    [
        "n=0", "n=101", "n=", "n=1.5", "n=%D9%A3", "exclude=", "exclude=a,,b", "genre=", "genre=drama,,x", "genre=-",
        "year=", "year=..", "year=1999..1980", "year=80", "year=1980...1990", "language=e", "language=e1", "max_age=-1",
        "max_age=121", "max_cost=nan", "max_cost=-1", "max_cost=1_0", "diversity=1.1", "diversity=x", "calibrated=yes",
        "page=", "page=a/b", "profile=0", "explain=11",
    ],
)  # fmt: skip
def test_parse_list_request_invalid_value_raises_with_what_is_valid(query: str) -> None:
    """The error names the parameter, and says what its values are."""
    name = query.partition("=")[0]
    with pytest.raises(InvalidRequest) as raised:
        parse_list_request(query)
    assert str(raised.value).startswith(f"{name} is ")
    assert PARAMETERS[name].valid in str(raised.value)


def test_parse_list_request_unknown_or_repeated_parameter_raises_with_the_known_ones() -> None:
    """All problems are in one error. An endpoint has its own parameters."""
    with pytest.raises(InvalidRequest) as raised:
        parse_list_request("genres=drama&n=1&n=2&n=3")
    assert "'genres' is not a parameter here: use n, exclude, genre," in str(raised.value)
    assert "n is given twice" in str(raised.value)
    with pytest.raises(InvalidRequest, match="'page' is not a parameter here"):
        parse_list_request("page=1", SIMILAR_PARAMETERS)


@given(st.sampled_from(RECOMMEND_PARAMETERS), st.text(max_size=40))
def test_parse_list_request_any_text_returns_or_raises_invalid_request(name: str, text: str) -> None:
    """No value raises anything else, and what is returned lies within its bounds."""
    try:
        request = parse_list_request(f"{name}={quote(text, errors='replace')}")
    except InvalidRequest:
        return
    assert 1 <= request.n <= 100
    assert 0 <= request.diversity <= 1
    assert request.rules.max_cost is None or request.rules.max_cost >= 0
