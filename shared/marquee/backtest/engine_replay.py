"""Replay of events through the serving engine."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.backtest.backtest_plan import Block, ServedModel
from marquee.backtest.event_stream import EventStream
from marquee.data import splits
from marquee.data.dataset import Dataset
from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.models import surprise_svd
from marquee.models.trainer_port import no_progress
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.serving.engine import Engine
from marquee.serving.user_state import UserState, build_user_state
from marquee.training.params import Params
from marquee.training.pipeline.tune_step import TUNED_RANKER, tune_ranker
from marquee.training.train_model import train_model
from marquee.training.tuning import NOTHING_CHOSEN

Arrays = dict[str, NDArray[np.generic]]

SHOWN = 10
"""Number of positions of a list that count as shown, for coverage and exposure."""
NOT_RELEVANT = -1
"""Position of an event for which no list was made."""
_HISTORY_LIMIT = 1_000  # The limit of marquee.db.user_history.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def replay_served_model(
    model: ServedModel, stream: EventStream, block: Block, params: Params, catalog: Collection[str], list_length: int
) -> Arrays:
    """Train on the events before the block, then predict each of its events before the engine learns from it.

    - ``rows`` [m]: the events, up to ``block.late``
    - ``predicted`` [m]: ratings, NaN for a watch session and for a movie that the model does not know
    - ``position`` [m]: position of the movie in the list, 0 if it is absent, ``NOT_RELEVANT`` without a list
    - ``shown`` [n_items]: how often each movie was among the first ``SHOWN``, up to ``block.last``
    - ``cpu_s`` [2]: CPU seconds of the training and of the replay
    """
    started = time.process_time()
    chosen = msgspec.structs.replace(params, engine="local", trainer=model.trainer, ranker=model.ranker)
    trained = _train(stream.dataset_before(block.first, catalog), chosen)
    trained_s = time.process_time() - started
    with tempfile.TemporaryDirectory(prefix="marquee-backtest-") as directory:
        store = FileStore(Path(directory))
        through = _to_time(int(stream.times[block.first - 1]))
        engine = Engine.load(store, write_artifact(store, trained, trained_through=through))
        engine.prepare()
        arrays = _Replay(engine, stream, model.fold_in, list_length).run(block)
    arrays["cpu_s"] = np.array([trained_s, time.process_time() - started - trained_s])
    return arrays


def _train(dataset: Dataset, params: Params) -> TrainedModel:
    """Train as the pipeline does, including the tuning of the ranker, but without a previous model."""
    choice = NOTHING_CHOSEN
    if params.ranker == TUNED_RANKER:
        choice = tune_ranker(splits.temporal_holdout(dataset, params.holdout_fraction).train, params)
    return train_model(dataset, params, chosen=choice.chosen)


class _Replay:
    """State of a replay: the users' histories since the model was trained."""

    def __init__(self, engine: Engine, stream: EventStream, fold_in: bool, list_length: int) -> None:
        self._engine = engine
        self._stream = stream
        self._fold_in = fold_in
        self._n = list_length
        self._ratings: defaultdict[int, list[RatedMovie]] = defaultdict(list)  # Newest first, as the database reads.
        self._watched: defaultdict[int, list[WatchedMovie]] = defaultdict(list)

    def run(self, block: Block) -> Arrays:
        rows = np.arange(block.first, block.late)
        predicted = np.full(len(rows), np.nan, np.float32)
        position = np.full(len(rows), NOT_RELEVANT, np.int16)
        shown = np.zeros(self._stream.dataset.n_items, np.int64)
        row_by_movie = {movie_id: row for row, movie_id in enumerate(self._stream.dataset.movie_ids)}
        for number, row in enumerate(rows.tolist()):
            state = self._make_state(row)
            movie_id = self._stream.dataset.movie_ids[self._stream.items[row]]
            item = self._engine.item_factors.items.get(movie_id)
            if self._stream.is_rating[row] and item is not None:
                predicted[number] = self._engine.predict(state, [item])[0]
            if self._stream.is_relevant[row]:
                movies = [movie.movie_id for movie in self._engine.recommend(state, self._n)[1]]
                position[number] = movies.index(movie_id) + 1 if movie_id in movies else 0
                if row < block.last:
                    shown[[row_by_movie[movie] for movie in movies[:SHOWN]]] += 1
            self._learn(row)
        return {"rows": rows, "predicted": predicted, "position": position, "shown": shown}

    def _make_state(self, row: int) -> UserState:
        user = int(self._stream.users[row])
        user_id = self._stream.dataset.user_ids[user]
        history = None
        if self._fold_in and (user in self._ratings or user in self._watched):
            history = History(tuple(self._ratings[user][:_HISTORY_LIMIT]), tuple(self._watched[user][:_HISTORY_LIMIT]))
        return build_user_state(self._engine.item_factors, self._engine.find_record(user_id), history)

    def _learn(self, row: int) -> None:
        stream, user = self._stream, int(self._stream.users[row])
        movie_id, value = stream.dataset.movie_ids[stream.items[row]], float(stream.values[row])
        moment = _to_time(int(stream.times[row]))
        if stream.is_rating[row]:
            self._ratings[user].insert(0, RatedMovie(movie_id, value, moment))
        else:
            self._watched[user].insert(0, WatchedMovie(movie_id, int(value), moment))


def replay_surprise(stream: EventStream, block: Block, params: Params, catalog: Collection[str]) -> Arrays:
    """Predict the ratings of the block with scikit-surprise's SVD, trained on the events before it and never updated.

    Unknown users get the prediction of the mean user. Returns ``rows`` [m], ``predicted`` [m] and ``cpu_s`` [2], as
    :func:`replay_served_model` does.
    """
    started = time.process_time()
    train = stream.dataset_before(block.first, catalog)
    factors = surprise_svd.fit(train, params.trainers["surprise_svd"], params.seed, no_progress)
    trained_s = time.process_time() - started
    rows = np.arange(block.first, block.last)
    rows = rows[stream.is_rating[rows]]
    users, items = _rows_in(train, stream, rows)
    theta = np.vstack([np.column_stack([factors.user_vectors, factors.user_biases]), factors.prior.mean])[users]
    raw = factors.mean + factors.item_biases[items] + theta[:, -1]
    raw += np.einsum("nk,nk->n", theta[:, :-1], factors.item_vectors[items])
    predicted = np.where(items >= 0, np.clip(raw, train.rating_min, train.rating_max), np.nan).astype(np.float32)
    cpu_s = np.array([trained_s, time.process_time() - started - trained_s])
    return {"rows": rows, "predicted": predicted, "cpu_s": cpu_s}


def _rows_in(train: Dataset, stream: EventStream, rows: NDArray[np.int64]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the events' users and items in ``train``; an unknown one has -1."""
    user_rows = {user_id: row for row, user_id in enumerate(train.user_ids)}
    item_rows = {movie_id: row for row, movie_id in enumerate(train.movie_ids)}
    ids = stream.dataset
    return (
        np.array([user_rows.get(ids.user_ids[user], -1) for user in stream.users[rows].tolist()], int),
        np.array([item_rows.get(ids.movie_ids[item], -1) for item in stream.items[rows].tolist()], int),
    )


def _to_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
