"""Screens: the pages that answer GET requests."""

from __future__ import annotations

from typing import Any

from marquee.app.home_rows import build_rows, similar_row
from marquee.app.movie_service_client import Movie
from marquee.app.page_request import PageReply, PageRequest, json_reply, text_reply
from marquee.app.rendering import render
from marquee.app.services import Services
from marquee.app.texts import TEXTS
from marquee.app.user_documents import export_user
from marquee.app.visitors import Visitor
from marquee.config.opaque_ids import is_valid_id
from marquee.errors import DocumentsRefused, DocumentsUnavailable

MAX_QUERY = 80


class Screens:
    """The pages of the app."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def home(self, request: PageRequest) -> PageReply:
        """Return the home screen."""
        visitor = self._services.visitors.welcome(request)
        return self._page("home.html", visitor, home=build_rows(self._services, visitor))

    def movie(self, request: PageRequest, movie_id: str) -> PageReply:
        """Return the screen of a movie."""
        movie = self._find(movie_id)
        if movie is None:
            return sorry(404, TEXTS["no_movie"])
        visitor = self._services.visitors.welcome(request)
        query = request.query
        because = self._services.movies.find([query["because"]]) if "because" in query else {}
        return self._page(
            "movie.html",
            visitor,
            movie=movie,
            minute=self._minute(visitor, movie_id),
            rated=self._services.options.scale.read(query.get("rated", "")),
            because=next(iter(because.values()), None),
            similar=similar_row(self._services, movie),
        )

    def watch(self, request: PageRequest, movie_id: str) -> PageReply:
        """Return the player."""
        movie = self._find(movie_id)
        if movie is None:
            return sorry(404, TEXTS["no_movie"])
        visitor = self._services.visitors.welcome(request)
        return self._page("watch.html", visitor, movie=movie, minute=self._minute(visitor, movie_id))

    def search(self, request: PageRequest) -> PageReply:
        """Return the search form with its results."""
        query = request.query.get("q", "")[:MAX_QUERY].strip()
        visitor = self._services.visitors.identify(request)
        try:
            found = self._services.movies.search(query) if query else []
        except (DocumentsUnavailable, DocumentsRefused):
            return self._page("search.html", visitor, query=query, movies=None)
        return self._page("search.html", visitor, query=query, movies=found)

    def you(self, request: PageRequest, *, code: str = "", wrong_code: bool = False) -> PageReply:
        """Return the page of the user's stored data and choices."""
        visitor = self._services.visitors.welcome(request)
        personal = visitor.profile.personal
        if personal and visitor.known:  # The account may have been marked elsewhere. If that is unknown, it is not.
            personal = self._services.profiling.is_allowed(visitor.user_id) is not False
        values = {"code": code, "wrong_code": wrong_code, "personal": personal}
        return self._page("you.html", visitor, 400 if wrong_code else 200, **values)

    def offline(self, _: PageRequest) -> PageReply:
        """Return the page that a device caches and shows without a network."""
        return sorry(200, TEXTS["offline"])

    def show_gone(self, _: PageRequest) -> PageReply:
        """Return the page that confirms the deletion."""
        return sorry(200, TEXTS["gone"])

    def export(self, request: PageRequest) -> PageReply:
        """Return all documents of the user as a file."""
        visitor = self._services.visitors.identify(request)
        if not visitor.stored:
            return text_reply(503, TEXTS["away_documents"], Retry_After="5")
        if not visitor.known:
            return text_reply(401, TEXTS["no_device"])
        document = export_user(self._services.documents, visitor.user_id)
        return json_reply(200, document, Content_Disposition='attachment; filename="marquee.json"')

    def _find(self, movie_id: str) -> Movie | None:
        return self._services.movies.find_one(movie_id) if is_valid_id(movie_id) else None

    def _minute(self, visitor: Visitor, movie_id: str) -> int:
        if not (visitor.known and visitor.stored):
            return 0
        try:
            return self._services.positions.read(visitor.user_id, movie_id)
        except (DocumentsUnavailable, DocumentsRefused):
            return 0

    def _page(self, template: str, visitor: Visitor, status: int = 200, **values: Any) -> PageReply:
        options = self._services.options
        return render(
            template,
            status,
            token=visitor.token,
            visitor=visitor,
            ratings=options.scale.ratings,
            retention_days=options.retention_days,
            **values,
        )


def sorry(status: int, text: str) -> PageReply:
    """Return an error page with one sentence, independent of the visitor."""
    reply = render("sorry.html", status, text=text, visitor=None)
    if status == 503:
        reply.headers["Retry-After"] = "5"
    return reply
