"""Lists of the arms of a release: within the policy and the age rule, explained, or drafted from two arms.

They may fail as any computation on stored data may; the :class:`~marquee.serving.recommender.Recommender` then asks for
the list of last resort.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from marquee.registry.arm_assignment import Arm
from marquee.registry.policy import Policy
from marquee.scoring.list_random import ListRandom
from marquee.serving.answer import RatingInterval, rating_interval
from marquee.serving.engine import Engine
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.list_builder import ListContext, MovieList
from marquee.serving.list_request import ListRequest, Rules
from marquee.serving.policy_rules import choose_exploration, limit_age, remove_restricted
from marquee.serving.release_cache import LoadedRelease
from marquee.serving.scored_movie import Tier
from marquee.serving.user_readers import UserReaders, UserTask
from marquee.serving.user_state import EMPTY, UserState

if TYPE_CHECKING:
    from marquee.serving.answer_document import Explanation

log = logging.getLogger(__name__)

# Notes of an answer; others are in recommender and user_readers.
INTERLEAVING_FAILED = "interleaving-failed"
AGE_RULE_BROKEN = "age-rule-broken"


class Listed(msgspec.Struct, frozen=True):
    """A list with what its answer says about it; ``explanations`` and ``reasons`` are empty or one for each movie."""

    result: MovieList
    explanations: tuple[Explanation, ...] = ()
    reasons: tuple[str, ...] = ()
    interval: RatingInterval | None = None
    engine: Engine | None = None
    state: UserState = EMPTY


class ArmLists:
    """Maker of the lists of an arm, for the users that ``readers`` reads.

    ``exploration`` holds where a policy sets none. ``logs_reasons``: lists carry the first reason of each movie.
    """

    def __init__(self, readers: UserReaders, exploration: Exploration, *, logs_reasons: bool) -> None:
        self._readers = readers
        self._exploration = exploration
        self._logs_reasons = logs_reasons
        # One explained list at a time: threads that hand over the GIL between short calls of NumPy lose more than they
        # gain. A plain list makes few such calls, and would lose by waiting.
        self._turn = threading.Lock()

    def list_movies(
        self, engine: Engine, policy: Policy, state: UserState, task: UserTask, *, is_drafted: bool = False
    ) -> Listed:
        """Return the list of one arm for a user; ``is_drafted``: another list is made from it."""
        context = self._make_context(engine, policy, state, task, is_drafted=is_drafted)
        with self._turn if task.request.explain else nullcontext():
            result = self.check_ages(engine.make_list(state, task.request, context), engine, context, task)
            explanations, reasons = self._explain(engine, state, result, task.request)
        return Listed(result, explanations, reasons, rating_interval(engine, state), engine, state)

    def interleave(self, loaded: LoadedRelease, arm: Arm, task: UserTask) -> Listed | None:
        """Return a list drafted from both arms; None if an error of either one prevents it."""
        from marquee.serving.interleaved_lists import draft_lists  # Few releases need it.

        arms = loaded.release.arms if loaded.release.arms[0] == arm else loaded.release.arms[::-1]  # The own arm first.
        try:
            engines = [loaded.engines[one.name] for one in arms]
            states = self._readers.read_states(engines, task)
            own, other = (
                self.list_movies(engine, one.policy, state, task, is_drafted=True)
                for one, engine, state in zip(arms, engines, states, strict=True)
            )
            random = ListRandom(task.recommendation_id.int).random
            listed, task.teams = draft_lists(own, other, arms is loaded.release.arms, task.request.n, random)
            return listed
        except Exception:  # The list of the user's own arm may still be possible.
            log.exception("interleaving failed for user %s with release %d", task.user_id, loaded.release.number)
            task.notes.append(INTERLEAVING_FAILED)
            return None

    def list_last_resort(self, engine: Engine, policy: Policy, task: UserTask) -> MovieList:
        """Return popular movies within the rules, which also hold after an error."""
        rules = self.apply_age_rule(policy, task, known=False)
        request = msgspec.structs.replace(task.request, diversity=0.0, calibrated=False)
        context = ListContext(policy=policy, rules=rules, page=task.page, now=task.now)
        result = self.check_ages(engine.make_list(EMPTY, request, context), engine, context, task)
        return msgspec.structs.replace(result, tier=Tier.LAST_RESORT)

    def apply_age_rule(self, policy: Policy, task: UserTask, *, known: bool) -> Rules:
        """Return the request's rules with the policy's age rule; ``known`` allows reading the account."""
        rules = task.request.rules
        if not policy.age_from_account:
            return rules
        age = self._readers.read_age(task) if known else None
        return limit_age(rules, policy.assumed_age if age is None else age)

    def check_ages(self, result: MovieList, engine: Engine, context: ListContext, task: UserTask) -> MovieList:
        """Return the list without movies above the age limit, and log an error if there were any."""
        max_age = context.choose_rules(task.request).max_age
        if max_age is None:
            return result
        unknown_passes = context.policy.unknown_age_passes
        checked = remove_restricted(result, engine.item_factors.metadata, max_age, unknown_passes)
        if checked is not result:
            log.error("list %s of %s held movies above the age limit", task.recommendation_id, engine.version)
            task.notes.append(AGE_RULE_BROKEN)
        return checked

    def _explain(
        self, engine: Engine, state: UserState, result: MovieList, request: ListRequest
    ) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
        """Return the explanations that the request asks for, and the first reasons if they are logged."""
        logs_reasons = self._logs_reasons and request.profile
        if not (request.explain or logs_reasons):
            return (), ()
        from marquee.serving.explanations import explain_list, find_first_reasons, read_first_reasons

        if not request.explain:
            return (), find_first_reasons(engine, state, result)
        explanations = explain_list(engine, state, result, request.explain)
        return explanations, read_first_reasons(explanations, result) if logs_reasons else ()

    def _make_context(
        self, engine: Engine, policy: Policy, state: UserState, task: UserTask, *, is_drafted: bool
    ) -> ListContext:
        """Return the context of a list; a list to be drafted has no exploration, and ratings only to explain them."""
        profile = task.request.profile
        cohorts = self._readers.read_cohorts(engine, task) if profile and not len(state.items) else ()
        rules = self.apply_age_rule(policy, task, known=profile)
        if is_drafted:
            rated = bool(task.request.explain)
            return ListContext(cohorts=cohorts, policy=policy, rules=rules, page=task.page, now=task.now, rated=rated)
        exploration = choose_exploration(policy, self._exploration) if profile else NO_EXPLORATION
        random = ListRandom(task.recommendation_id.int).random
        return ListContext(exploration, random, cohorts, policy, rules, task.page, task.now, task.rated)
