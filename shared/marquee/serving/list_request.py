"""Request for a list: its parameters with their types and defaults."""

from __future__ import annotations

import msgspec

LIST_LENGTH = 20
"""Default number of movies in a list."""


class Rules(msgspec.Struct, frozen=True):
    """Rules that each movie of a list must pass. An empty value or None rules nothing out.

    ``genres``: the movie has one of them. ``languages``: its original language is one of them. ``max_age``: its age
    rating is at most that. ``max_cost``: its license fee per view is at most that. Names are in lower case.
    """

    genres: tuple[str, ...] = ()
    genres_excluded: tuple[str, ...] = ()
    year_min: int | None = None
    year_max: int | None = None
    languages: tuple[str, ...] = ()
    max_age: int | None = None
    max_cost: float | None = None


NO_RULES = Rules()


class ListRequest(msgspec.Struct, frozen=True):
    """A request for a list, as the query string states it.

    ``exclude``: ids of movies to leave out. ``diversity``: 0 orders by score alone, 1 by dissimilarity alone.
    ``calibrated``: the genres have the proportions of the user's history. ``page``: token of the next page, from the
    page before. ``profile``: whether the user's history may be read. ``explain``: number of reasons for each movie.
    ``user``: for similar movies, the user whose scores are mixed in.
    """

    n: int = LIST_LENGTH
    exclude: tuple[str, ...] = ()
    rules: Rules = NO_RULES
    diversity: float = 0.0
    calibrated: bool = False
    page: str = ""
    profile: bool = True
    explain: int = 0
    user: str = ""

    @property
    def may_be_filled(self) -> bool:
        """True if seen movies may fill up a list with too few unseen ones, that is, for a request without rules."""
        return self.rules is NO_RULES and not (self.exclude or self.page)


PLAIN = ListRequest()
"""The request without parameters."""
