"""The rows of the home screen. A row is omitted if it is empty or its source is unavailable."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from marquee.app.movie_service_client import Movie
from marquee.app.recommendations import ShownList
from marquee.app.services import Services
from marquee.app.texts import TEXTS
from marquee.app.visitors import Visitor
from marquee.errors import MarqueeError, RecommendationsUnavailable

ROW_LENGTH = 20
POPULAR = "popular"
"""Kind of the row of a list that does not depend on the user."""
NOT_PROFILED = "not-profiled"
"""Tier of a list of ``recommend`` that was made without the user's history."""
_CONTINUED = 10


class Card(msgspec.Struct, frozen=True):
    """A movie in a row. ``position`` counts from 1 in a recommendation; ``minute`` is the last minute watched."""

    movie: Movie
    position: int | None = None
    rating: float | None = None
    because: Movie | None = None
    minute: int | None = None


class HomeRow(msgspec.Struct, frozen=True):
    """A row of the home screen. ``recommendation_id`` is empty if the row is not a recommendation."""

    kind: str
    title: str
    cards: tuple[Card, ...]
    recommendation_id: str = ""


class HomeRows(msgspec.Struct, frozen=True):
    """The rows of the home screen, and a notice for each missing source."""

    rows: tuple[HomeRow, ...]
    notes: tuple[str, ...]


def build_rows(services: Services, visitor: Visitor) -> HomeRows:
    """Return the rows for a visitor, in the order of the screen."""
    notes: list[str] = [] if visitor.stored else [TEXTS["away_documents"]]
    rows: list[HomeRow] = []
    makers: list[Callable[[Services, Visitor], HomeRow | None]] = [_for_you, _kept]
    if visitor.token:  # A new user has neither positions nor a list.
        makers = [_for_you, _newest]
    elif visitor.stored and visitor.known:
        makers = [_continued, _for_you, _because_watched, _newest, _kept]
    for make in makers:
        if make is _because_watched and any(row.kind == POPULAR for row in rows):
            continue  # The account must not be profiled.
        try:
            row = make(services, visitor)
        except RecommendationsUnavailable:
            notes.append(TEXTS["away_lists"])
        except MarqueeError:
            continue
        else:
            if row and row.cards:
                rows.append(row)
    if not rows:
        remembered = tuple(Card(movie) for movie in services.movies.recall_any(ROW_LENGTH))
        rows = [HomeRow("seen", TEXTS["row_seen"], remembered)] if remembered else []
    return HomeRows(tuple(rows), tuple(notes))


def _for_you(services: Services, visitor: Visitor) -> HomeRow | None:
    if not visitor.known:
        return None
    personal = visitor.profile.personal
    answer = services.recommendations.read_list(visitor.user_id, personal=personal)
    if not personal or answer.tier == NOT_PROFILED:
        return HomeRow(POPULAR, TEXTS["row_popular"], list_cards(services, answer), answer.recommendation_id)
    return HomeRow("for_you", TEXTS["row_for_you"], list_cards(services, answer), answer.recommendation_id)


def _because_watched(services: Services, visitor: Visitor) -> HomeRow | None:
    """Return movies similar to the one that the user watched last."""
    watched = services.positions.read_newest(visitor.user_id, 1) if visitor.profile.personal else []
    if not watched:
        return None
    movie = services.movies.find([watched[0].movie_id]).get(watched[0].movie_id)
    row = similar_row(services, movie) if movie else None
    return msgspec.structs.replace(row, title=TEXTS["row_because"].format(title=movie.title)) if row and movie else None


def similar_row(services: Services, movie: Movie) -> HomeRow | None:
    """Return the row of movies similar to ``movie``; None if ``recommend`` has none or is unavailable."""
    try:
        answer = services.recommendations.read_similar(movie.id, ROW_LENGTH)
    except RecommendationsUnavailable:
        return None  # A model may not know the movie.
    cards = tuple(msgspec.structs.replace(card, position=None) for card in list_cards(services, answer))
    return HomeRow("similar", TEXTS["row_similar"], cards)


def list_cards(services: Services, answer: ShownList) -> tuple[Card, ...]:
    """Return the known movies of a list, with their positions in the list."""
    reasons = [movie.because for movie in answer.movies if movie.because]
    movies = services.movies.find([*(movie.movie_id for movie in answer.movies), *reasons])
    return tuple(
        Card(movies[listed.movie_id], position, listed.rating, movies.get(listed.because))
        for position, listed in enumerate(answer.movies, 1)
        if listed.movie_id in movies
    )


def _continued(services: Services, visitor: Visitor) -> HomeRow | None:
    positions = services.positions.read_newest(visitor.user_id, _CONTINUED)
    movies = services.movies.find(position.movie_id for position in positions)
    cards = tuple(
        Card(movies[position.movie_id], minute=position.minute)
        for position in positions
        if position.movie_id in movies and position.minute < movies[position.movie_id].minutes
    )
    return HomeRow("continue", TEXTS["row_continue"], cards)


def _newest(services: Services, _: Visitor) -> HomeRow | None:
    return HomeRow("new", TEXTS["row_new"], tuple(Card(movie) for movie in services.movies.newest(ROW_LENGTH)))


def _kept(services: Services, visitor: Visitor) -> HomeRow | None:
    movie_ids = visitor.profile.movie_ids[:-31:-1]
    movies = services.movies.find(movie_ids)
    return HomeRow("list", TEXTS["row_list"], tuple(Card(movies[m]) for m in movie_ids if m in movies))
