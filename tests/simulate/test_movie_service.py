"""The simulator plays the catalogue and customer service: its formats, bulk calls, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from marquee.simulate.catalogue import SyntheticCatalogue
from marquee.simulate.movie_service import Movies, MovieService, People

CATALOGUE = SyntheticCatalogue(50, 1)
KNOWN = {"7": {"user_id": "7", "age": "31", "gender": "F", "occupation": "writer", "zip": "1"}}
MOVIES = {"heat+1995": {"title": "Heat", "year": "1995", "genres": "Action|Crime|Thriller"}}

Ask = Callable[[str], Awaitable[tuple[int, Any]]]


def asked(*paths: str, **settings: Any) -> list[tuple[int, Any]]:
    """The status and the document of each path, in one service's life."""

    async def run() -> list[tuple[int, Any]]:
        service = MovieService(People(1, 100, KNOWN), Movies(1, CATALOGUE, MOVIES), **settings)
        async with service, aiohttp.ClientSession() as session:
            found = []
            for path in paths:
                async with session.get(service.url + path) as answer:
                    found.append((answer.status, json.loads(await answer.text())))
            return found

    return asyncio.run(run())


def test_a_customer_in_the_services_own_format() -> None:
    ((status, found),) = asked("/user/7")
    assert status == 200
    assert (found["user_id"], found["age"], found["gender"], found["occupation"]) == (7, 31, "F", "writer")
    assert {"self_description_likes", "self_description_dislikes"} <= set(found)


def test_made_customers_stay_as_they_are() -> None:
    """The same seed and id, the same customer; ages from 8 to 90."""
    first, again = asked("/user/12", "/user/12")
    assert first == again
    assert 8 <= first[1]["age"] <= 90


def test_a_movie_in_the_services_own_format() -> None:
    """Numbers that the service sends as text are text here as well."""
    (_, heat), (_, made) = asked("/movie/heat+1995", f"/movie/{CATALOGUE.movie_id(3)}")
    assert [genre["name"] for genre in heat["genres"]] == ["Action", "Crime", "Thriller"]
    assert (heat["title"], heat["release_date"], heat["adult"], heat["budget"]) == (
        "Heat",
        "1995-01-01",
        "False",
        "0",
    )
    assert made["id"] == CATALOGUE.movie_id(3)


def test_who_is_not_known() -> None:
    assert asked("/user/101", "/user/abc", "/movie/nothing+1900") == [
        (404, {"message": "user not found"}),
        (404, {"message": "user not found"}),
        (404, {"message": "movie not found"}),
    ]


def test_many_at_once() -> None:
    """A list of those that are known; more than 200 are refused."""
    (status, found), (refused, _) = asked("/user/7,101,12", "/user/" + ",".join(map(str, range(201))))
    assert (status, [row["user_id"] for row in found]) == (200, [7, 12])
    assert refused == 400


@pytest.mark.parametrize(("now", "statuses"), [(0.0, [200, 200, 429]), (1.0, [200, 200, 200])])
def test_above_its_rate_it_refuses(now: float, statuses: list[int]) -> None:
    """Two a second: the third within one moment is told to come back; a second later there is room again."""
    times = iter([0.0, 0.0, 0.0, now])
    assert [
        s for s, _ in asked("/user/7", "/user/7", "/user/7", per_second=2.0, clock=lambda: next(times))
    ] == statuses
