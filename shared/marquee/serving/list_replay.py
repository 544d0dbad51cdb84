"""Replay of an answer: the same list again, from the release, the logged inputs and the recommendation id.

The replay uses the serving recommender with other readers, which return the user's data as the impression logged them.
With the same readers, another model or policy can be replayed for that time.
"""

from __future__ import annotations

from base64 import b64decode
from collections import OrderedDict
from uuid import UUID

import msgspec

from marquee.errors import ArtifactRefused, MarqueeError, ReleaseError
from marquee.events.batches import Impression, ListInputs
from marquee.registry.arm_assignment import OUTSIDE, Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.policy import Policy
from marquee.registry.release import Release, read_release
from marquee.serving.answer import Answer
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.fixed_release import FixedReleaseCache
from marquee.serving.list_inputs import read_exploration, read_request
from marquee.serving.list_request import LIST_LENGTH
from marquee.serving.page_token import Page
from marquee.serving.recommender import Recommender
from marquee.serving.recorded_user import PastHistory, RecordedReaders, recall_popular
from marquee.serving.release_cache import LoadedRelease
from marquee.serving.scored_movie import ScoredMovie
from marquee.serving.user_readers import UserTask
from marquee.serving.user_state import UserState

_MAX_ENGINES = 4
_SAME_ERROR = 1e-4
"""Tolerated relative difference of scores, due to another processor or a ranking without the index."""


class ReplayedList(msgspec.Struct, frozen=True, kw_only=True):
    """A replayed list.

    ``difference`` describes the first difference from the shown list; empty if they are equal. ``approximate`` names
    the inputs that were not logged; empty if all were.
    """

    movies: tuple[ScoredMovie, ...]
    model_version: str
    policy: int
    tier: str
    explored: bool
    difference: str = ""
    approximate: str = ""


class Replayer:
    """Replayer of past lists, from the releases and artifacts of ``store``.

    ``past`` reads from tables what the impressions do not hold; None without a database. ``exploration`` is that of the
    settings, for impressions of earlier programs that did not log it.
    """

    def __init__(self, store: ObjectStore, exploration: Exploration, past: PastHistory | None = None) -> None:
        self._store = store
        self._exploration = exploration
        self._past = past
        self._releases: dict[int, Release] = {}
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def replay(self, shown: Impression) -> ReplayedList:
        """Replay the list of an impression, and compare it with the shown list.

        Raises :class:`ReleaseError` or :class:`ArtifactRefused` if the release or the artifact is gone or damaged.
        """
        answer, approximate = self._answer(shown, self._find_arm(shown), interleaved=bool(_read_teams(shown)))
        return _describe(answer, approximate, find_difference(shown, answer))

    def ask(self, shown: Impression, *, version: str = "", policy: Policy | None = None) -> ReplayedList:
        """Return the list that model ``version`` under ``policy`` would have shown. Raises as :meth:`replay` does."""
        arm = self._find_arm(shown)
        if arm is None:
            raise ReleaseError(
                "the list was made before the first release, so that no model or policy replaces its own"
            )
        other = msgspec.structs.replace(arm, version=version or arm.version, policy=policy or arm.policy)
        answer, approximate = self._answer(shown, other)
        return _describe(answer, approximate)

    def load_engine(self, version: str) -> Engine:
        """Return the engine of an artifact. Raises :class:`ArtifactRefused`."""
        engine = self._engines.get(version)
        if engine is None:
            engine = Engine.load(self._store, version)
            engine.prepare()
            self._engines[version] = engine
            if len(self._engines) > _MAX_ENGINES:
                self._engines.popitem(last=False)
        self._engines.move_to_end(version)
        return engine

    def rank(self, shown: Impression, *, version: str = "", policy: Policy | None = None) -> list[str]:
        """Return the list for an impression's user without exploration, best first. Raises as :meth:`ask`."""
        return [movie.movie_id for movie in self._rank(shown, LIST_LENGTH, 0, version, policy)]

    def rank_candidates(self, shown: Impression, exploration: Exploration) -> list[str]:
        """Return the list and the other candidates of its random slots, by logged rank, new movies included.

        ``exploration`` is that of the list. A longer list, whose random slots are all of the candidates, has the same
        ranking and shows all of it, in a random order. Raises as :meth:`ask`.
        """
        movies = self._rank(shown, LIST_LENGTH + exploration.extra_candidates, exploration.candidates)
        return [movie.movie_id for movie in sorted(movies, key=lambda movie: movie.rank)]

    def _rank(
        self, shown: Impression, n: int, slots: int, version: str = "", policy: Policy | None = None
    ) -> tuple[ScoredMovie, ...]:
        """Return ``n`` movies, the last ``slots`` of them in a random order."""
        arm = self._find_arm(shown)
        if arm is None:
            raise ReleaseError("the list was made before the first release")
        plain = msgspec.structs.replace(
            policy or arm.policy, explore_epsilon=0.0, explore_slots=slots, explore_candidates=slots
        )
        other = msgspec.structs.replace(arm, version=version or arm.version, policy=plain)
        answer, _ = self._answer(shown, other, n)
        return answer.movies

    def is_other_arm(self, shown: Impression, version: str) -> bool:
        """Return True if ``version`` was the only other arm of the impression's release, with the same weight."""
        arms = self._read_release(shown.release).arms
        others = [arm for arm in arms if arm.name != shown.arm]
        return (
            len(arms) == 2 and others[0].version == version != shown.model_version and arms[0].weight == arms[1].weight
        )

    def find_policy(self, shown: Impression) -> Policy | None:
        """Return the policy of an impression; None without a release. Raises :class:`ReleaseError`."""
        arm = self._find_arm(shown)
        return arm.policy if arm else None

    def read_state(self, engine: Engine, shown: Impression) -> UserState:
        """Return the state of the impression's user at that time, for ``engine``."""
        return RecordedReaders(shown, self._past).read_state(engine, _make_task(shown))

    def _answer(
        self, shown: Impression, arm: Arm | None, n: int = 0, *, interleaved: bool = False
    ) -> tuple[Answer, str]:
        """Return the answer, and the inputs that were not logged; ``n`` replaces the length of the list."""
        inputs = shown.inputs
        loaded = self._load(shown.release, arm, interleaved) if arm else None
        readers = RecordedReaders(shown, self._past)
        exploration = read_exploration(inputs) if inputs else self._exploration
        recommender = Recommender(
            FixedReleaseCache(self._store, loaded),
            objects=DeadlineExecutor("object store", deadline_ms=1, threads=0),
            popular=recall_popular(shown),
            exploration=exploration,
            readers=readers,
        )
        answer = recommender.answer_task(_make_task(shown, n))
        return answer, "; ".join(dict.fromkeys(readers.approximate))

    def _find_arm(self, shown: Impression) -> Arm | None:
        """Return the arm of an impression, None if there was no release."""
        if not shown.release:
            return None
        release = self._read_release(shown.release)
        name = release.arms[0].name if shown.arm == OUTSIDE else shown.arm
        arm = next((arm for arm in release.arms if arm.name == name), None)
        if arm is None or arm.version != shown.model_version:
            raise ReleaseError(f"release {shown.release} has no arm {shown.arm!a} with model {shown.model_version}")
        return arm

    def _read_release(self, number: int) -> Release:
        if number not in self._releases:
            self._releases[number] = read_release(self._store, number)
        return self._releases[number]

    def _load(self, number: int, arm: Arm, interleaved: bool) -> LoadedRelease:
        """Return the release as the user got it: with one arm, or with both arms of an interleaved list."""
        release = msgspec.structs.replace(self._read_release(number), enrolled=1.0)
        if not interleaved:
            whole = msgspec.structs.replace(arm, weight=1.0)
            release = msgspec.structs.replace(release, arms=(whole,), interleaved=False)
        return LoadedRelease(release, {one.name: self.load_engine(one.version) for one in release.arms})


def find_difference(shown: Impression, answer: Answer) -> str:
    """Return the first difference from the shown list; empty if the answers are equal byte for byte."""
    if answer.tier.value != shown.tier:
        return f"the tier is {answer.tier.value}, it was {shown.tier}"
    if len(answer.movies) != len(shown.movies):
        return f"{len(answer.movies)} movies, there were {len(shown.movies)}"
    for position, (made, was) in enumerate(zip(answer.movies, shown.movies, strict=True), 1):
        if made.movie_id != was.movie_id:
            return f"position {position} has {made.movie_id}, it had {was.movie_id}"
    if answer.teams != _read_teams(shown):
        return f"the teams of the movies are {answer.teams or 'none'}, they were {_read_teams(shown) or 'none'}"
    for position, (made, was) in enumerate(zip(answer.movies, shown.movies, strict=True), 1):
        for name in ("score", "rating", "propensity", "rank"):
            new, old = getattr(made, name), getattr(was, name)
            if new != old:
                size = "in the last bits" if _is_close(new, old) else f"is {new}, it was {old}"
                return f"the movies are equal; {name} of position {position} differs {size}"
    return ""


def has_same_movies(difference: str) -> bool:
    """Return True if the lists have the same movies, so that at most scores differ."""
    return not difference or difference.startswith("the movies are equal")


def name_failure(error: MarqueeError) -> str:
    """Return the kind of failure of a replay, without details of the list, to count failures by kind."""
    if isinstance(error, ArtifactRefused):
        return "its artifact is gone or damaged"
    return "its release is gone or damaged" if isinstance(error, ReleaseError) else type(error).__name__


def _read_teams(shown: Impression) -> str:
    return shown.inputs.teams if shown.inputs else ""


def _is_close(new: float | None, old: float | None) -> bool:
    return new is not None and old is not None and abs(new - old) <= _SAME_ERROR * max(abs(old), 1.0)


def _make_task(shown: Impression, n: int = 0) -> UserTask:
    """Return the task of an impression. Raises :class:`ReleaseError` if `recommend` cannot have written it."""
    inputs = shown.inputs or ListInputs()
    try:
        page, request, identity = Page(shown.page, "", b64decode(inputs.shown)), read_request(inputs), UUID(shown.id)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ReleaseError(f"the impression {shown.id!a} is malformed: {error}") from error
    if n:  # A ranking must not be filled up with seen movies.
        request = msgspec.structs.replace(request, n=n, exclude=request.exclude or ("?",))
    return UserTask(shown.user_id, shown.time, request, page, identity)


def _describe(answer: Answer, approximate: str, difference: str = "") -> ReplayedList:
    return ReplayedList(
        movies=answer.movies,
        model_version=answer.version,
        policy=answer.policy,
        tier=answer.tier.value,
        explored=answer.explored,
        difference=difference,
        approximate=approximate,
    )
