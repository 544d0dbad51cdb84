"""The simulated customer and movie service: formats, bulk requests, rate limit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from marquee.config.movielens_names import GENRES
from marquee.simulate.catalog import SyntheticCatalog
from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable

CATALOGUE = SyntheticCatalog(50, 1)
CUSTOMERS = {
    "7": {"user_id": "7", "age": "31", "gender": "F", "occupation": "writer", "zip": "1"},
    "8": {"user_id": "8", "age": "", "gender": "M"},
}
MOVIES = {"heat+1995": {"title": "Heat", "year": "1995", "genres": "Action|Crime|Thriller"}, "own+1": {}}


def get_all(*paths: str, **options: Any) -> list[tuple[int, Any]]:
    """Return status and document of each path, requested in order from one service."""

    async def run() -> list[tuple[int, Any]]:
        customers, movies = CustomerTable(1, 100, CUSTOMERS), MovieTable(1, CATALOGUE, MOVIES)
        service = MovieService(customers, movies, **options)
        async with service, aiohttp.ClientSession() as session:
            responses = []
            for path in paths:
                async with session.get(service.url + path) as response:
                    responses.append((response.status, json.loads(await response.text())))
            return responses

    return asyncio.run(run())


def test_movie_service_known_customer_has_the_real_format() -> None:
    """A customer of the base data has the fields of the real service."""
    ((status, customer),) = get_all("/user/7")
    assert status == 200
    assert (customer["user_id"], customer["age"], customer["gender"], customer["occupation"]) == (
        7,
        31,
        "F",
        "writer",
    )
    assert {"self_description_likes", "self_description_dislikes"} <= set(customer)


def test_movie_service_own_tables_without_attributes_are_served() -> None:
    """Own base data may lack columns and values, and an unknown age is none."""
    (status, customer), (found, movie) = get_all("/user/8", "/movie/own+1")
    assert (status, customer["age"], customer["gender"], customer["occupation"]) == (200, None, "M", "")
    assert (found, movie["title"], movie["genres"], movie["release_date"]) == (200, "Own 1", [], None)


def test_movie_service_synthetic_customer_is_stable() -> None:
    """The same seed and id give the same customer; ages are from 8 to 90."""
    first, second = get_all("/user/12", "/user/12")
    assert first == second
    assert 8 <= first[1]["age"] <= 90


def test_movie_service_movie_has_the_real_format() -> None:
    """Numbers that the real service sends as text are text."""
    (_, heat), (_, synthetic) = get_all("/movie/heat+1995", f"/movie/{CATALOGUE.movie_id(3)}")
    assert [genre["name"] for genre in heat["genres"]] == ["Action", "Crime", "Thriller"]
    assert (heat["title"], heat["release_date"], heat["adult"], heat["budget"]) == (
        "Heat",
        "1995-01-01",
        "False",
        "0",
    )
    assert synthetic["id"] == CATALOGUE.movie_id(3)
    assert synthetic["genres"][0]["name"] in GENRES


def test_movie_service_unknown_ids_are_not_found() -> None:
    """An unknown or malformed id has status 404 and a message that names its kind."""
    assert get_all("/user/101", "/user/abc", "/movie/nothing+1900") == [
        (404, {"message": "user not found"}),
        (404, {"message": "user not found"}),
        (404, {"message": "movie not found"}),
    ]


def test_movie_service_several_ids_return_the_known_ones() -> None:
    """Several ids give a list of the known ones; more than 200 are refused."""
    (status, rows), (refused, _) = get_all("/user/7,101,12", "/user/" + ",".join(map(str, range(201))))
    assert (status, [row["user_id"] for row in rows]) == (200, [7, 12])
    assert refused == 400


@pytest.mark.parametrize(("now", "status"), [(0.0, 429), (1.0, 200)])
def test_movie_service_above_rate_limit_returns_429(now: float, status: int) -> None:
    """At one per second the third request at one moment is refused; a second later it is accepted."""
    times = iter([0.0, 0.0, now])
    responses = get_all("/user/7", "/user/7", "/user/7", requests_per_second=1.0, clock=lambda: next(times))
    assert [found for found, _ in responses] == [200, 200, status]
