"""Application of a policy to the rules and the exploration of a request, and of rules without a release."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from zlib import crc32

import msgspec
import numpy as np

from marquee.registry.movie_metadata import UNKNOWN_AGE, MovieMetadata
from marquee.registry.policy import Policy
from marquee.serving.exploration import Exploration, limit_exploration
from marquee.serving.list_builder import MovieList
from marquee.serving.list_request import NO_RULES, ListRequest, Rules
from marquee.serving.page_token import Page
from marquee.serving.scored_movie import ScoredMovie


def limit_age(rules: Rules, age: int) -> Rules:
    """Return the rules with an age rating of at most ``age``."""
    return msgspec.structs.replace(rules, max_age=age if rules.max_age is None else min(age, rules.max_age))


def remove_restricted(result: MovieList, metadata: MovieMetadata, max_age: int, unknown_age_passes: bool) -> MovieList:
    """Return the list without movies above an age limit.

    This is a second check, independent of the rules that chose the candidates. It should not find any movie; then the
    same object is returned.
    """
    ages = [metadata.ages[row] if metadata.ages else UNKNOWN_AGE for row in result.rows]
    allowed = [at for at, age in enumerate(ages) if (unknown_age_passes if age == UNKNOWN_AGE else age <= max_age)]
    if len(allowed) == len(result.rows):
        return result
    movies, rows = [result.movies[at] for at in allowed], [result.rows[at] for at in allowed]
    return msgspec.structs.replace(result, movies=movies, rows=rows)


def choose_exploration(policy: Policy, default: Exploration) -> Exploration:
    """Return the exploration of the policy; values that it does not set come from ``default``."""
    own = (policy.explore_epsilon, policy.explore_slots, policy.explore_candidates, policy.explore_new)
    if own == (None, None, None, None):
        return default
    known = (default.epsilon, default.slots, default.candidates, default.new)
    epsilon, slots, candidates, new = (
        mine if mine is not None else other for mine, other in zip(own, known, strict=True)
    )
    return limit_exploration(epsilon, int(slots), int(candidates), int(new))


def select_popular(
    movies: Sequence[ScoredMovie], seen: Collection[str], request: ListRequest, page: Page
) -> list[ScoredMovie]:
    """Return the database's popular movies that pass the rules, unseen ones first.

    Seen movies only fill up a list without rules. The database has no attributes of movies, so no movie passes a rule
    that requires one.
    """
    if request.rules not in (NO_RULES, Rules(genres_excluded=request.rules.genres_excluded)):
        return []
    excluded = set(request.exclude)
    shown = set(np.frombuffer(page.shown, "<u4").tolist())
    passing = [m for m in movies if m.movie_id not in excluded and crc32(m.movie_id.encode()) not in shown]
    if not request.may_be_filled:
        return [m for m in passing if m.movie_id not in seen]
    return sorted(passing, key=lambda m: m.movie_id in seen)  # A stable sort keeps the order within both groups.
