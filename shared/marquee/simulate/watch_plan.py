"""Simulated watch sessions, and the population of users that starts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class PlannedSession:
    """A watch session in progress: watches from ``minute`` to ``last_minute``, then the rating, if any.

    ``state`` is the state of its random generator (:func:`~marquee.simulate.hashed_rng.lcg_step`).
    ``account``: the user is new and creates an account first.
    """

    user_id: str
    movie_id: str
    last_minute: int
    rating: float | None
    state: int
    minute: int = 0
    account: bool = False
    recommended: bool = False


class UserPopulation(Protocol):
    """Users who start watch sessions and request recommendations.

    Its decisions depend on the seed and on the recommendations only.
    """

    def start_session(self, *, midway: bool = False) -> PlannedSession | None:
        """Return the next watch session, or None if no user is free. ``midway``: it is already in progress."""

    def end_session(self, session: PlannedSession) -> None:
        """Mark the user of ``session`` as free."""

    @property
    def finished(self) -> bool:
        """True if no watch session will start again."""

    def requesting_user(self, number: int) -> str:
        """Return the user id of recommendation request ``number``."""

    def receive_recommendation(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        """Show ``movie_ids``, best first, to ``user_id`` in response to request ``number``."""

    def has_movie(self, movie_id: str) -> bool:
        """Return True if the catalog has the movie."""
