"""Recommendations for every user, known or unknown, from the best available tier.

A request reads data of one user only: their record in the artifact, their recent history and their cohorts, each
within a deadline. Unavailable services are named in the notes of the answer.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec

from marquee.errors import NothingToRecommend, UnknownMovie
from marquee.registry.arm_assignment import OUTSIDE, Arm
from marquee.serving.answer import Answer, rating_interval
from marquee.serving.arm_lists import ArmLists, Listed
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.list_builder import ListContext, MovieList
from marquee.serving.list_request import PLAIN, ListRequest, Rules
from marquee.serving.movie_rules import check_genres
from marquee.serving.page_token import FIRST_PAGE, read_page
from marquee.serving.policy_rules import select_popular
from marquee.serving.release_cache import LoadedRelease, ReleaseCache
from marquee.serving.scored_movie import Tier
from marquee.serving.user_readers import (
    DATABASE_UNAVAILABLE,
    OBJECT_STORE_UNAVAILABLE,
    AgeReader,
    CohortReader,
    HistoryReader,
    UserReaders,
    UserTask,
)
from marquee.serving.user_state import EMPTY

if TYPE_CHECKING:
    from marquee.events.batches import ListInputs
    from marquee.serving.popular_movies import PopularMovies
    from marquee.serving.restricted_users import RestrictedUsers

log = logging.getLogger(__name__)

# Notes of an answer; others are in arm_lists and user_readers.
RELEASE_REFUSED = "release-refused"
SCORING_FAILED = "scoring-failed"
NO_MATCH = "no-match"

_NO_ID = UUID(int=0)


class Recommender:
    """Recommender of movies from the current release, with fallbacks.

    ``history`` and ``popular`` are None without a database, ``cohorts`` and ``ages`` without a customer service.
    ``restricted`` holds the users whose data must not be read; it is None without a database. ``logs_reasons``: answers
    carry the inputs and the first reason of each movie, for their impressions. ``readers`` replaces the readers made
    from the other parameters.

    The first requests wait ``wait_s`` for a model if popular movies can be shown instead, and ``cold_wait_s`` if there
    is nothing else to show.
    """

    def __init__(
        self,
        cache: ReleaseCache,
        *,
        objects: DeadlineExecutor,
        history: HistoryReader | None = None,
        popular: PopularMovies | None = None,
        cohorts: CohortReader | None = None,
        ages: AgeReader | None = None,
        restricted: RestrictedUsers | None = None,
        logs_reasons: bool = False,
        exploration: Exploration = NO_EXPLORATION,
        wait_s: float = 0.3,
        cold_wait_s: float = 10.0,
        readers: UserReaders | None = None,
    ) -> None:
        self.cache = cache
        self._readers = readers or UserReaders(objects, history, cohorts, ages)
        self._popular = popular
        self._restricted = restricted
        self._logs_reasons = logs_reasons
        self._exploration = exploration
        self._lists = ArmLists(self._readers, exploration, logs_reasons=logs_reasons)
        self._wait_s = wait_s
        self._cold_wait_s = cold_wait_s

    @classmethod
    def load(cls, url: str, **options: Any) -> Recommender:
        """Return a recommender of a stored release, for notebooks; see :func:`fixed_release.load_recommender`."""
        from marquee.serving.fixed_release import load_recommender

        return load_recommender(url, **options)

    @property
    def privacy_problem(self) -> str:
        """Why every list is made without a profile: the key of the marks is missing or wrong. Empty if it is right."""
        return self._restricted.problem if self._restricted else ""

    def answer(self, user_id: str, now: datetime, request: ListRequest = PLAIN, *, rated: bool = True) -> Answer:
        """Return a list for the user, known or unknown; the movies have ratings if it is ``rated``.

        Raises :class:`NothingToRecommend` if there is no list, :class:`InvalidRequest` for a page of another list, or
        a genre that no movie has.
        """
        self._check_genres(request.rules)
        notes: list[str] = []
        if request.profile and self._is_restricted(user_id, notes):
            request = msgspec.structs.replace(request, profile=False)
        identity = uuid4() if request.profile else _NO_ID
        stored_id = self._stored_id(user_id) if request.profile else ""
        page = read_page(request, user_id if request.profile else "")
        task = UserTask(stored_id, now, request, page, identity, user_id, rated=rated)
        task.notes += notes
        return self.answer_task(task)

    def answer_task(self, task: UserTask) -> Answer:
        """Return the list of a request whose id and page are known. Raises :class:`NothingToRecommend`."""
        loaded = self.cache.get(self._wait_s)
        task.timer.end("release")
        if loaded is not None:
            return self._answer_from_release(loaded, task)
        answer = self._answer_from_database(task)
        if answer is not None:
            return answer
        loaded = self.cache.get(self._cold_wait_s)
        task.timer.end("release")
        if loaded is None:
            raise NothingToRecommend(f"{self.cache.explain_nothing()} No popular movies are known, either.")
        return self._answer_from_release(loaded, task)

    def find_similar(self, movie_id: str, now: datetime, request: ListRequest, *, rated: bool = True) -> Answer:
        """Return the movies most similar to one, in the release that the request's user gets; see :meth:`answer`.

        Raises :class:`UnknownMovie`, :class:`InvalidRequest` for a genre that no movie has, and
        :class:`NothingToRecommend` without a release.
        """
        from marquee.serving.similar_movies import find_similar

        self._check_genres(request.rules)
        loaded = self.cache.get(self._wait_s) or self.cache.get(self._cold_wait_s)
        if loaded is None:
            raise NothingToRecommend(self.cache.explain_nothing())
        notes: list[str] = []
        if request.user and self._is_restricted(request.user, notes):
            request = msgspec.structs.replace(request, user="")
        stored_id = self._stored_id(request.user)
        task = UserTask(stored_id, now, request, FIRST_PAGE, _NO_ID, request.user)
        task.notes += notes
        arm = loaded.release.assign(stored_id) if request.user else loaded.release.arms[0]
        engine = loaded.engines[arm.name]
        row = engine.item_factors.items.get(movie_id)
        if row is None:
            raise UnknownMovie(f"{movie_id[:80]!a} is not a movie of model {engine.version}")
        state = self._readers.read_state(engine, task) if request.user else EMPTY
        rules = self._lists.apply_age_rule(arm.policy, task, known=bool(request.user))
        context = ListContext(policy=arm.policy, rules=rules, now=now, rated=rated)
        result = self._lists.check_ages(find_similar(engine, row, state, request, context), engine, context, task)
        if not result.movies:
            task.notes.append(NO_MATCH)
        task.timer.end("rank")
        listed = Listed(result, interval=rating_interval(engine, state))
        return self._make_answer(task, result.tier, listed, (loaded, arm))

    def _is_restricted(self, user_id: str, notes: list[str]) -> bool:
        """Return whether the user's data must not be read; add a note if that cannot be known yet."""
        if self._restricted is None or not self._restricted(user_id):
            return False
        if self._restricted.is_unread:
            notes.append(DATABASE_UNAVAILABLE)
        return True

    def _stored_id(self, user_id: str) -> str:
        return self._restricted.stored_id(user_id) if self._restricted else user_id

    def _check_genres(self, rules: Rules) -> None:
        loaded = self.cache.get(self._wait_s) if rules.genres or rules.genres_excluded else None
        if loaded is not None:
            check_genres(rules, [engine.rules for engine in loaded.engines.values()])

    def _answer_from_release(self, loaded: LoadedRelease, task: UserTask) -> Answer:
        arms, request = loaded.release.arms, task.request
        arm = loaded.release.assign(task.user_id) if request.profile else arms[0]
        engine = loaded.engines[arm.name]
        try:
            interleaves = loaded.release.interleaved and request.profile and arm.name != OUTSIDE
            listed = self._lists.interleave(loaded, arm, task) if interleaves else None
            if listed is None:
                state = self._readers.read_state(engine, task) if request.profile else EMPTY
                listed = self._lists.list_movies(engine, arm.policy, state, task)
        except Exception:  # On any error a non-personalized list is better than none.
            log.exception("scoring failed for user %s with %s", task.user_id, engine.version)
            task.notes.append(SCORING_FAILED)
            task.history = None  # The list does not depend on it.
            listed = Listed(self._lists.list_last_resort(engine, arm.policy, task))
        if not listed.result.movies:
            task.notes.append(NO_MATCH)
        task.timer.end("rank")
        tier = listed.result.tier
        if not request.profile and tier is not Tier.LAST_RESORT:
            tier = Tier.NOT_PROFILED
        return self._make_answer(task, tier, listed, (loaded, arm))

    def _answer_from_database(self, task: UserTask) -> Answer | None:
        """Return the database's popular movies, for the time before the first release; None if there are none."""
        if self._popular is None:
            return None
        movies, fresh = self._popular.read()
        if not movies:
            task.timer.end("popular")
            return None
        task.popular = movies
        request, seen, tier = task.request, set[str](), Tier.POPULAR
        if not fresh:
            tier = Tier.LAST_RESORT
            task.notes.append(DATABASE_UNAVAILABLE)
        elif not request.profile:
            tier = Tier.NOT_PROFILED
        else:
            history = self._readers.read_history(None, task)
            if history is not None:
                seen = {r.movie_id for r in history.ratings} | {w.movie_id for w in history.watched}
        passing = select_popular(movies, seen, request, task.page)
        task.timer.end("popular")
        result = MovieList(tier, passing[: request.n], eligible=len(passing))
        if not result.movies:
            task.notes.append(NO_MATCH)
        return self._make_answer(task, tier, Listed(result))

    def _make_answer(
        self,
        task: UserTask,
        tier: Tier,
        listed: Listed,
        source: tuple[LoadedRelease, Arm] | None = None,
    ) -> Answer:
        """Return the answer; ``source`` is the release and its arm, or None without a release."""
        if self.cache.store_error:
            task.notes.append(OBJECT_STORE_UNAVAILABLE)
        if self.cache.release_refused:
            task.notes.append(RELEASE_REFUSED)
        profile, result = task.request.profile, listed.result
        provenance: dict[str, Any] = {"arm": "", "version": "", "release": 0}
        if source is not None:
            loaded, arm = source
            factors = loaded.engines[arm.name].item_factors
            provenance = {
                "arm": arm.name,
                "version": factors.manifest.version,
                "release": loaded.release.number,
                "policy": arm.policy.number,
                "metadata_file": factors.metadata_file,
                "rows": factors.items,
            }
        return Answer(
            recommendation_id=str(task.recommendation_id) if profile else "",
            user_id=task.account_id if profile else "",
            stored_id=task.user_id if profile else "",
            time=task.now,
            **provenance,
            tier=tier,
            movies=tuple(result.movies),
            notes=tuple(dict.fromkeys(task.notes)),
            explored=result.explored,
            interval=listed.interval,
            seconds=task.timer.seconds,
            eligible=result.eligible,
            request=task.request,
            page=task.page,
            explanations=listed.explanations,
            reasons=listed.reasons,
            teams=task.teams,
            inputs=self._keep_inputs(task, source),
        )

    def _keep_inputs(self, task: UserTask, source: tuple[LoadedRelease, Arm] | None) -> ListInputs | None:
        if not (self._logs_reasons and task.request.profile):
            return None
        from marquee.serving.list_inputs import keep_inputs

        loaded, arm = source or (None, None)
        names = [one.name for one in loaded.release.arms] if loaded and task.teams else [arm.name] if arm else []
        engines = [loaded.engines[name] for name in names] if loaded else []
        return keep_inputs(task, engines, self._exploration)
