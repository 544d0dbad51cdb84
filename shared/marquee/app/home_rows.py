"""The rows of the home screen. A row whose source is away, or that is empty, is left out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from marquee.app.movie_service_client import Movie
from marquee.app.services import Services
from marquee.app.texts import TEXTS
from marquee.app.visitors import Visitor
from marquee.errors import MarqueeError, RecommendationsUnavailable

ROW_LENGTH = 20
_CONTINUED = 10


class Card(msgspec.Struct, frozen=True):
    """A movie in a row. ``position`` counts from 1 in a recommendation; ``minute`` is where the user stopped."""

    movie: Movie
    position: int | None = None
    rating: float | None = None
    because: str = ""
    minute: int | None = None


class HomeRow(msgspec.Struct, frozen=True):
    """A row of the home screen. ``recommendation_id`` is empty for a row that is no recommendation."""

    kind: str
    title: str
    cards: tuple[Card, ...]
    recommendation_id: str = ""


class HomeRows(msgspec.Struct, frozen=True):
    """The rows of the home screen, and sentences on what is missing."""

    rows: tuple[HomeRow, ...]
    notes: tuple[str, ...]


def build_rows(services: Services, visitor: Visitor) -> HomeRows:
    """Return the rows for a visitor, in the order of the screen."""
    notes: list[str] = [] if visitor.stored else [TEXTS["away_documents"]]
    rows: list[HomeRow] = []
    makers: list[Callable[[Services, Visitor], HomeRow | None]] = [_for_you, _kept]
    if visitor.stored and visitor.known:
        makers = [_continued, _for_you, _newest, _kept]
    for make in makers:
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
    if not (visitor.known and visitor.profile.personal):
        return None
    answer = services.recommendations.read_list(visitor.user_id)
    reasons = [movie.because for movie in answer.movies if movie.because]
    movies = services.movies.find([*(movie.movie_id for movie in answer.movies), *reasons])
    cards = tuple(
        Card(
            movies[listed.movie_id],
            position,
            listed.rating,
            movies[listed.because].title if listed.because in movies else "",
        )
        for position, listed in enumerate(answer.movies, 1)
        if listed.movie_id in movies
    )
    return HomeRow("for_you", TEXTS["row_for_you"], cards, answer.recommendation_id)


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
