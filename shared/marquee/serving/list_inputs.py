"""Inputs of a list that its impression logs (decision 0040).

These are the user's history since the artifact, the cohorts and the constants of the list, so that it can be replayed
after the rows are deleted. No account data are logged that the list itself does not reveal.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from marquee.events.batches import ListInputs
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.list_request import PLAIN, ListRequest
from marquee.serving.user_readers import UserTask

if TYPE_CHECKING:
    from marquee.db.user_history import History

MAX_EVENTS = 250
"""Number of newest ratings, and of watch sessions, that are logged. 200 such impressions need at most 6 MB."""

Rated: TypeAlias = tuple[str, float, datetime]
Watched: TypeAlias = tuple[str, int, datetime]


def keep_inputs(task: UserTask, engines: Sequence[Engine], exploration: Exploration) -> ListInputs:
    """Return the inputs of the list of ``task``.

    ``engines`` are those of its models: none without a release, two for an interleaved list.
    """
    rated, watched, left_out = _keep_history(task.history)
    known = {name for engine in engines for name in engine.item_factors.cohorts}
    age = task.age
    return ListInputs(
        request=_keep_request(task, engines),
        shown=b64encode(task.page.shown).decode(),
        record=task.has_record,
        rated=rated,
        watched=watched,
        left_out=left_out,
        cohorts=tuple((name, weight) for name, weight in task.cohorts if name in known),
        max_age=None if age is None else max((engine.rules.lower_age(age) for engine in engines), default=None),
        explore=(exploration.epsilon, exploration.slots, exploration.candidates),
        explore_new=exploration.new,
        popular=tuple((movie.movie_id, movie.score) for movie in task.popular),
        teams=task.teams,
        other_record=bool(task.teams) and task.other_record,
    )


def read_request(inputs: ListInputs) -> ListRequest:
    """Return the request of a list, without its page."""
    return msgspec.json.decode(b64decode(inputs.request), type=ListRequest) if inputs.request else PLAIN


def read_exploration(inputs: ListInputs) -> Exploration:
    """Return the logged default exploration, which a policy may change."""
    return Exploration(*inputs.explore, inputs.explore_new)


def read_history(inputs: ListInputs) -> History:
    """Return the logged history."""
    from marquee.db.user_history import History, RatedMovie, WatchedMovie

    return History(tuple(RatedMovie(*event) for event in inputs.rated), tuple(WatchedMovie(*e) for e in inputs.watched))


def _keep_request(task: UserTask, engines: Sequence[Engine]) -> str:
    """Return the request without excluded movies unknown to the model, which have no effect and may be long."""
    if task.request is PLAIN:
        return ""
    known = [engine.item_factors.items for engine in engines] or [{movie.movie_id: 0 for movie in task.popular}]
    exclude = tuple(movie_id for movie_id in task.request.exclude if any(movie_id in items for items in known))
    exclude = exclude or task.request.exclude[:1]  # A list with exclusions is not filled with seen movies.
    request = msgspec.structs.replace(task.request, exclude=exclude, page="", explain=0)
    return b64encode(msgspec.json.encode(request)).decode()


def _keep_history(history: History | None) -> tuple[tuple[Rated, ...], tuple[Watched, ...], int]:
    """Return the newest ratings and watch sessions, and the number of older ones."""
    if history is None:
        return (), (), 0
    rated = tuple((r.movie_id, r.rating, r.time) for r in history.ratings[:MAX_EVENTS])
    watched = tuple((w.movie_id, w.last_minute, w.time) for w in history.watched[:MAX_EVENTS])
    return rated, watched, len(history.ratings) + len(history.watched) - len(rated) - len(watched)
