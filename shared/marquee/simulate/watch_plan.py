"""One customer who watches one movie, and the audience from which such watch sessions come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class WatchSession:
    """A watch session that goes on: watch lines from ``minute`` to ``last_minute``, then the rating, if any.

    ``state`` is its own chance. ``account``: the customer is new, and first creates an account.
    """

    user_id: str
    movie_id: str
    last_minute: int
    rating: int | None
    state: int
    minute: int = 0
    account: bool = False
    recommended: bool = False


class UserPopulation(Protocol):
    """Who watches what, and who asks. It decides from the seed alone, but for what is recommended."""

    def begin(self, *, midway: bool = False) -> WatchSession | None:
        """The next watch session, or None if nobody is free to begin one. ``midway``: it began before we looked."""

    def end(self, session: WatchSession) -> None:
        """``watch_session`` is over: its customer is free."""

    @property
    def over(self) -> bool:
        """Whether nothing will ever begin again."""

    def asks(self, number: int) -> str:
        """The user id of the ``number``-th recommendation request."""

    def recommend(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        """``user_id`` was shown ``movie_ids``, best first, in answer to request ``number``."""

    def knows(self, movie_id: str) -> bool:
        """Whether the catalogue has this movie."""
