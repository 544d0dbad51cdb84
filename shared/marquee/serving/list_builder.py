"""Construction of one list: candidates, ranking, reranking, quotas, exploration and pins, in this order.

Each step only orders or removes candidates, so no movie of the result breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import ceil
from random import random as default_random
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from marquee.registry.policy import NO_POLICY, Policy
from marquee.serving.candidates import Candidates, select_candidates
from marquee.serving.exploration import NO_EXPLORATION, Exploration, limit_exploration
from marquee.serving.list_request import ListRequest, Rules
from marquee.serving.new_movies import promote_new
from marquee.serving.page_token import FIRST_PAGE, Page
from marquee.serving.rankings import MovieRanking, ScoreRanking
from marquee.serving.scored_movie import Cohorts, ScoredMovie, Tier
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from marquee.scoring.reranking import Calibration
    from marquee.serving.engine import Engine

PIN, QUOTA = "pin", "quota"
_MIN_POOL, _POOL_FACTOR = 100, 5
"""Number of movies to rerank: this multiple of the list's length, and this minimum."""


class ListContext(msgspec.Struct, frozen=True):
    """Inputs of a list beside the artifact, the user's state and the request.

    ``rules`` are those of the request and of the policy together; None: those of the request. ``random`` returns
    numbers in [0, 1); it follows from the recommendation id, so that a list can be made again. ``rated``: ratings are
    predicted.
    """

    exploration: Exploration = NO_EXPLORATION
    random: Callable[[], float] = default_random
    cohorts: Cohorts = ()
    policy: Policy = NO_POLICY
    rules: Rules | None = None
    page: Page = FIRST_PAGE
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    rated: bool = True

    def choose_rules(self, request: ListRequest) -> Rules:
        """Return the rules of this context, or those of the request if it has none."""
        return request.rules if self.rules is None else self.rules


class MovieList(msgspec.Struct, frozen=True):
    """A list, with the data for its impression and its explanation.

    - ``explored``: True if the list was drawn uniformly
    - ``eligible``: number of candidates, including pinned movies
    - ``rows``: item rows of ``movies``
    - ``sources``: reason for the presence of a row, if it is neither the score nor exploration
    - ``deductions`` [n_items]: deductions from the scores for license fees; None if there are none
    """

    tier: Tier
    movies: list[ScoredMovie]
    explored: bool = False
    eligible: int = 0
    rows: list[int] = []
    sources: dict[int, str] = {}
    cohort_rows: list[tuple[int, float]] = []
    deductions: np.ndarray | None = None


def build_list(engine: Engine, state: UserState, request: ListRequest, context: ListContext) -> MovieList:
    """Return the list for a user; it may be short, or empty, if rules leave fewer movies."""
    policy = context.policy
    candidates = find_candidates(engine, state, request, context, may_be_filled=request.may_be_filled)
    eligible = candidates.count
    tier, ranking, cohort_rows = engine.rank(state, context.cohorts)
    deductions = None
    if policy.cost_weight:
        ranking, deductions = _deduct_costs(engine, ranking, policy.cost_weight)
    pins = _find_pins(engine, candidates, request, context) if policy.pins else {}
    if pins:
        candidates = candidates.without(list(pins.values()))
    n_open = request.n - len(pins)
    exploration = context.exploration.scale(request.n)
    ranked = _rank(engine, state, request, ranking, candidates, n_open + exploration.extra_candidates)
    sources = dict.fromkeys(pins.values(), PIN)
    if policy.quotas:
        ranked, exploration, added = _fill_quotas(
            engine, policy, ranking, candidates, list(pins.values()), ranked, n_open, exploration
        )
        sources |= dict.fromkeys(added, QUOTA)
    elif engine.new_movies is not None:
        ranked = promote_new(ranked, n_open, ranking, candidates, engine.new_movies, exploration)
    if candidates.count < n_open:
        ranked = ranked + candidates.fill(n_open - len(ranked))
    rows, propensities, uniform = exploration.choose(ranked, n_open, candidates, context.random)
    ranks = _find_ranks(ranked, rows, ranking, candidates)
    if pins:
        _insert_pins(pins, rows, propensities, ranks)
    scores = ranking.scores_of(rows)
    movies = engine.make_movies(state if context.rated else None, rows, scores, propensities, ranks)
    return MovieList(tier, movies, uniform, eligible, rows, sources, cohort_rows, deductions)


def find_candidates(
    engine: Engine,
    state: UserState,
    request: ListRequest,
    context: ListContext,
    *,
    may_be_filled: bool,
    removed: Sequence[np.ndarray] = (),
) -> Candidates:
    """Return the unseen movies without the rows of ``removed`` that pass the rules, the policy and the page."""
    policy, removed = context.policy, list(removed)
    if request.exclude:
        removed.append(engine.find_rows(request.exclude))
    if policy.unavailable or policy.windows:
        removed.append(engine.find_hidden(policy, context.now))
    if context.page.shown:
        removed.append(engine.find_shown(context.page))
    passing = engine.rules.passing(context.choose_rules(request), policy.unknown_age_passes)
    n_items = len(engine.item_factors.movie_ids)
    return select_candidates(n_items, state.items, passing, removed, may_be_filled=may_be_filled)


def _rank(
    engine: Engine, state: UserState, request: ListRequest, ranking: MovieRanking, candidates: Candidates, n: int
) -> list[int]:
    """Return the ``n`` best candidates, reranked if the request asks for it."""
    if not (request.diversity or request.calibrated):
        return ranking.top(n, candidates)
    from marquee.scoring.reranking import rerank

    pool = ranking.top(max(_MIN_POOL, _POOL_FACTOR * n), candidates)
    calibration = _calibrate(engine, state, pool) if request.calibrated else None
    scores = np.array(ranking.scores_of(pool), np.float32)
    vectors = engine.taste_vectors(pool) if request.diversity else None
    return [pool[position] for position in rerank(scores, n, vectors, request.diversity, calibration)]


def _calibrate(engine: Engine, state: UserState, pool: Sequence[int]) -> Calibration | None:
    """Return the genres of the pool and of the history; None if no genre of the history is known."""
    from marquee.scoring.reranking import Calibration

    metadata = engine.item_factors.metadata
    history = [metadata.genre_names(row) for row in state.items.tolist()]
    names = {name: column for column, name in enumerate(sorted({name for genres in history for name in genres}))}
    if not names:
        return None
    genres = np.zeros((len(pool), len(names)), np.float32)
    for position, row in enumerate(pool):
        own = metadata.genre_names(row)
        for name in own:
            if name in names:
                genres[position, names[name]] = 1 / len(own)
    target = np.zeros(len(names), np.float32)
    for own, weight in zip(history, state.weights.tolist(), strict=True):
        for name in own:
            target[names[name]] += weight / len(own)
    return Calibration(genres, target / target.sum())


def _deduct_costs(engine: Engine, ranking: MovieRanking, weight: float) -> tuple[MovieRanking, np.ndarray | None]:
    costs = engine.rules.costs
    if costs is None:
        return ranking, None
    scores = ranking.scores()
    deductions = costs * np.float32(weight * float(scores.std()))
    return ScoreRanking(scores - deductions), deductions


def _find_pins(engine: Engine, candidates: Candidates, request: ListRequest, context: ListContext) -> dict[int, int]:
    """Return the rows that are pinned, by position from 0; each movie and each position once."""
    if context.page.number > 1:
        return {}
    flags, pins = candidates.as_flags(), dict[int, int]()
    for pin in context.policy.active_pins(context.now):
        row = engine.item_factors.items.get(pin.movie_id)
        if row is not None and flags[row] and pin.position <= request.n and row not in pins.values():
            pins.setdefault(pin.position - 1, row)
    # A position beyond a short list would leave a gap.
    return {at: row for at, row in pins.items() if at < candidates.count}


def _fill_quotas(
    engine: Engine,
    policy: Policy,
    ranking: MovieRanking,
    candidates: Candidates,
    pinned: list[int],
    ranked: list[int],
    n: int,
    exploration: Exploration,
) -> tuple[list[int], Exploration, list[int]]:
    """Replace the last movies that no quota needs by the best movies of a quota that is not met.

    The random slots follow the part that meets the quotas, and no list is drawn uniformly, so that every list meets
    them. Returns the new ranking, the remaining exploration, and the rows that were added.
    """
    length = min(n, candidates.count) + len(pinned)
    members = [engine.rules.members(quota) for quota in policy.quotas]
    needed = [ceil(quota.share * length - 1e-9) for quota in policy.quotas]
    n_slots = min(exploration.slots, max(length - len(pinned) - sum(needed), 0))
    head, added = ranked[: max(min(n, candidates.count) - n_slots, 0)], list[int]()
    for member, need in zip(members, needed, strict=True):
        present = sum(bool(member[row]) for row in (*head, *pinned))
        if present >= need:
            continue
        chosen = set(head)
        extra = [row for row in ranking.top(len(head) + need, candidates.within(member)) if row not in chosen]
        for row in extra[: need - present]:
            place = _find_replaceable(head, members, needed, pinned)
            if place is None:
                break
            del head[place]
            head.append(row)
            added.append(row)
    rest = [row for row in ranked if row not in set(head)]
    return head + rest, limit_exploration(0.0, n_slots, exploration.candidates, 0), added


def _find_replaceable(head: list[int], members: list[np.ndarray], needed: list[int], pinned: list[int]) -> int | None:
    """Return the last place of the list whose movie no quota needs."""
    spare = [sum(bool(m[row]) for row in (*head, *pinned)) - need for m, need in zip(members, needed, strict=True)]
    for place in reversed(range(len(head))):
        if all(not member[head[place]] or left > 0 for member, left in zip(members, spare, strict=True)):
            return place
    return None


def _find_ranks(ranked: list[int], rows: list[int], ranking: MovieRanking, candidates: Candidates) -> list[int]:
    """Return the rank of each row without exploration, from 1."""
    if rows == ranked[: len(rows)]:  # Nothing was drawn at random.
        return list(range(1, len(rows) + 1))
    known = {row: rank for rank, row in enumerate(ranked, 1)}
    try:
        return [known[row] for row in rows]
    except KeyError:  # A list drawn uniformly.
        scores = ranking.scores()
        rivals = scores[candidates.rows]
        ranks = []
        for row in rows:
            better = np.count_nonzero(rivals > scores[row])
            better += np.count_nonzero(rivals[: np.searchsorted(candidates.rows, row)] == scores[row])
            ranks.append(known.get(row, max(int(better), len(ranked)) + 1))
        return ranks


def _insert_pins(pins: dict[int, int], rows: list[int], propensities: list[float], ranks: list[int]) -> None:
    """Insert the pinned rows in place; the ranks of the others move with their positions."""
    positions = sorted(pins)
    for number, rank in enumerate(ranks):
        moved = rank
        for at in positions:
            moved += at < moved
        ranks[number] = moved
    for at in positions:
        at_end = min(at, len(rows))
        rows.insert(at_end, pins[at])
        propensities.insert(at_end, 1.0)
        ranks.insert(at_end, at_end + 1)
