"""Answer to one request: a list with its provenance, and the impression of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from marquee.registry.manifest import ResidualInterval
from marquee.registry.movie_metadata import NO_FILE, MetadataFile, MovieMetadata
from marquee.serving.list_request import PLAIN, ListRequest
from marquee.serving.page_token import FIRST_PAGE, Page, write_token
from marquee.serving.scored_movie import ScoredMovie, Tier

if TYPE_CHECKING:
    from marquee.events.batches import Impression, ListInputs
    from marquee.serving.answer_document import Explanation
    from marquee.serving.engine import Engine
    from marquee.serving.user_state import UserState


class RatingInterval(msgspec.Struct, frozen=True):
    """Prediction interval that contains a rating with probability ``coverage``, clipped to the scale."""

    coverage: float
    residuals: ResidualInterval
    rating_min: float
    rating_max: float

    def around(self, prediction: float) -> tuple[float, float]:
        """Return the lower and the upper bound of the rating."""
        low, high = prediction + self.residuals.below, prediction + self.residuals.above
        return max(low, self.rating_min), min(high, self.rating_max)


def rating_interval(engine: Engine, state: UserState) -> RatingInterval | None:
    """Return the prediction interval of the user's ratings; None if it was not calibrated."""
    residuals, manifest = engine.residual_interval(state), engine.item_factors.manifest
    if residuals is None:
        return None
    return RatingInterval(manifest.coverage, residuals, manifest.rating_min, manifest.rating_max)


class Answer(msgspec.Struct, frozen=True):
    """One list of movies, best first, with its provenance."""

    recommendation_id: str
    user_id: str
    time: datetime
    arm: str
    version: str
    release: int
    tier: Tier
    movies: tuple[ScoredMovie, ...]
    notes: tuple[str, ...] = ()
    explored: bool = False
    """True if the whole list was drawn uniformly."""
    interval: RatingInterval | None = None
    """Prediction interval of the ratings; None if it was not calibrated."""
    seconds: dict[str, float] = {}
    """Duration of each step."""
    policy: int = 0
    eligible: int = 0
    """Number of movies that could have been shown."""
    request: ListRequest = PLAIN
    page: Page = FIRST_PAGE
    metadata_file: MetadataFile = NO_FILE
    rows: Mapping[str, int] = {}
    """Row of each movie in ``metadata``."""
    explanations: tuple[Explanation, ...] = ()
    """One for each movie, if the request asks for reasons."""
    reasons: tuple[str, ...] = ()
    """First reason of each movie, for the impression."""
    inputs: ListInputs | None = None
    """Inputs of the list, for the impression."""
    teams: str = ""
    """Team of each movie of an interleaved list: 0 for control, 1 for the new arm."""
    stored_id: str | None = None
    """Id of the user in the impression; None: ``user_id``."""

    @property
    def metadata(self) -> MovieMetadata:
        """Metadata of the movies of the model."""
        return self.metadata_file.read()

    @property
    def next_page(self) -> str:
        """Token of the next page; empty if there is none."""
        if self.eligible <= len(self.movies):
            return ""
        movie_ids = [movie.movie_id for movie in self.movies]
        return write_token(self.request, self.user_id, self.page, self.recommendation_id, movie_ids)

    def impression(self) -> Impression:
        """Return the impression to log."""
        from marquee.events.batches import (  # Needed only where impressions are sent.
            Impression,
            ImpressionMovie,
        )

        reasons = self.reasons or ("",) * len(self.movies)
        movies = tuple(
            ImpressionMovie(m.movie_id, m.score, m.rating, m.propensity, m.rank, reason)
            for m, reason in zip(self.movies, reasons, strict=True)
        )
        return Impression(
            self.recommendation_id,
            self.time,
            self.user_id if self.stored_id is None else self.stored_id,
            self.arm,
            self.version,
            self.release,
            self.tier,
            movies,
            self.explored,
            self.eligible,
            self.policy,
            self.notes,
            self.page.number,
            round(sum(self.seconds.values()) * 1000, 3),
            self.inputs,
        )


class StepTimer:
    """Stopwatch of consecutive steps: each lasts from the end of the one before."""

    __slots__ = ("_last", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, step: str) -> None:
        """Record the end of a step; repeated steps add up."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now
