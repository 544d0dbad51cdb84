"""Content model: a movie that no one has rated is ranked and rated as movies of its genre are."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.synthetic_data import DAY, blocks, frame
from tests.training.runs import GOOD

from marquee.data.content_features import encode_content
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.models import content
from marquee.models.content import ContentRegression
from marquee.models.ranker_port import RankingFactors
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.item_similarity import ItemSimilarity
from marquee.training.train_model import train_model

NEW = {"b0+new": "0", "b1+new": "1"}


def planted(extra: tuple[tuple[str, str, float, int], ...] = ()) -> Dataset:
    """Return the blocks, each a genre, with a new movie of two of them; ``extra`` ratings of these."""
    ratings = blocks()
    genres = {
        movie: f"genre {movie[1]}" for movie in set(ratings["movie_id"]) if movie.startswith("b") and movie[1] != "a"
    }
    genres |= {movie: f"genre {block}" for movie, block in NEW.items()}
    rows = {movie: {"title": f"Film {number}", "genres": genre} for number, (movie, genre) in enumerate(genres.items())}
    rows_of_all = [tuple(row) for row in ratings.itertuples(index=False)]
    return Dataset.from_frames(frame(*rows_of_all, *extra), frame(), 1.0, 5.0, SideInformation(movies=rows))


@pytest.fixture(scope="module")
def trained() -> tuple[Dataset, TrainedModel]:
    dataset = planted()
    return dataset, train_model(dataset, GOOD)


def test_train_model_new_movie_is_scored_by_both_heads_from_its_genre(trained: tuple[Dataset, TrainedModel]) -> None:
    """For users of a block the new movie of their block has the higher predicted rating and score."""
    dataset, model = trained
    zero, one = (dataset.movie_ids.index(movie) for movie in NEW)
    own_zero = np.array([user.startswith("u0") for user in dataset.user_ids])
    own_one = np.array([user.startswith("u1") for user in dataset.user_ids])
    ratings = model.item_biases + model.user_vectors @ model.item_vectors.T
    assert (ratings[own_zero, zero] > ratings[own_zero, one]).mean() > 0.95
    assert (ratings[own_one, one] > ratings[own_one, zero]).mean() > 0.95
    history = np.zeros((dataset.n_users, dataset.n_items))
    history[dataset.ratings.users, dataset.ratings.items] = dataset.ratings.values >= 4
    scores = history @ model.rank_history @ model.rank_items.T
    assert (scores[own_zero, zero] > scores[own_zero, one]).all()
    assert (scores[own_one, one] > scores[own_one, zero]).all()
    assert model.popularity[[zero, one]].tolist() == [0, 0]


def test_complete_without_metadata_changes_nothing() -> None:
    """Without features both heads keep their bits, and no movie without ratings is an item."""
    bare = Dataset.from_frames(blocks(), frame(), 1.0, 5.0)
    assert bare.content_features is None
    assert "b0+new" not in bare.movie_ids
    dataset = planted()
    rating, ranking = object(), object()
    counts = np.ones(dataset.n_items)
    assert content.complete(None, counts, rating, ranking, counts) == (rating, ranking)  # type: ignore[arg-type]


def test_complete_ranking_own_part_grows_with_the_interactions() -> None:
    """The part of the metadata is proportional to STRENGTH / (n + STRENGTH), and popularity is not touched."""
    rng = np.random.default_rng(0)
    features, learned = rng.random((60, 3)), rng.standard_normal((60, 4))
    ranking = RankingFactors(learned, learned, np.full(60, 2.0), 1)
    counts = np.r_[np.arange(30.0), np.full(30, 1e9)]
    mixed = content.complete_ranking(ranking, features, counts)
    predicted = ContentRegression.from_features(features, counts).predict(learned[:, :3] / 2)
    prior = (content.STRENGTH / (counts + content.STRENGTH))[:, None]
    added = mixed.rank_items[:, :3] / 2 - learned[:, :3] / 2
    scale = np.linalg.norm(added[0]) / np.linalg.norm(predicted[0])
    assert 0 < scale <= 1
    np.testing.assert_allclose(added, prior * scale * predicted, atol=1e-9)
    np.testing.assert_array_equal(mixed.rank_items[:, 3], learned[:, 3])
    np.testing.assert_allclose(mixed.rank_items[30:], learned[30:], atol=1e-6)


def test_complete_ranking_trend_multiplies_the_learned_part_only() -> None:
    """A high trend of movies with few interactions, which is noise, adds nothing to the part of the metadata."""
    rng = np.random.default_rng(2)
    features, learned = rng.random((60, 3)), rng.standard_normal((60, 4))
    counts = np.r_[np.full(30, 2.0), np.full(30, 1e9)]
    added = []
    for trend in (np.ones(60), np.where(counts < 3, 20.0, 1.0)):
        items = np.column_stack([learned[:, :3] * trend[:, None], learned[:, 3]])
        mixed = content.complete_ranking(RankingFactors(learned, items, trend, 1), features, counts)
        added.append(mixed.rank_items - items)
    assert np.abs(added[0][:30, :3]).min() > 1e-4
    np.testing.assert_allclose(added[1], added[0], atol=1e-9)


def test_complete_ranking_division_by_the_trend_leaves_no_movie_longer_than_without_growth() -> None:
    """Rows divided by the trend, as similar movies and reasons need them, are as long as if there were no growth."""
    rng = np.random.default_rng(3)
    features, learned = rng.random((60, 3)), rng.standard_normal((60, 4))
    counts, trend = np.r_[np.ones(30), np.full(30, 1e9)], np.r_[np.full(30, 0.005), np.full(30, 3.0)]
    plain = content.complete_ranking(RankingFactors(learned, learned, np.ones(60), 1), features, counts)
    items = np.column_stack([learned[:, :3] * trend[:, None], learned[:, 3]])
    grown = content.complete_ranking(RankingFactors(learned, items, trend, 1), features, counts)
    assert grown.trend is not None
    without = np.linalg.norm(grown.rank_items[:, :3] / grown.trend[:, None], axis=1)
    np.testing.assert_allclose(without, np.linalg.norm(plain.rank_items[:, :3], axis=1))
    np.testing.assert_allclose(grown.trend[30:], 3.0, rtol=1e-6)


def test_similar_movies_of_a_trained_model_are_not_those_with_one_old_rating() -> None:
    """The growth of such movies is nearly 0; movies of the same block come before them."""
    ratings = blocks()
    ratings["time"] *= 86_400  # Years instead of minutes.
    rare = [(f"u0-{number:03}", f"b{number % 4}+rare{number}", 5.0, DAY) for number in range(8)]
    rows = [*(tuple(row) for row in ratings.itertuples(index=False)), *rare]
    described = sorted({movie for _, movie, _, _ in rows if movie != "bad+0000"})
    movies = {movie: {"title": f"Film {n}", "genres": f"genre {movie[1]}"} for n, movie in enumerate(described)}
    dataset = Dataset.from_frames(frame(*rows), frame(), 1.0, 5.0, SideInformation(movies=movies))
    # The default rank is above the number of these movies.
    chosen = {"popularity.prior_likes": 0.1, "rankers.ease.trend_exponent": 1.25, "rankers.ease.rank": 12}
    model = train_model(dataset, GOOD, chosen=chosen)
    assert model.trend is not None
    similarity = ItemSimilarity(model.rank_items, model.rank_history, model.popularity_columns, model.trend)
    for block in range(4):
        order = (-similarity.scores(dataset.movie_ids.index(f"b{block}+0001"))).argsort()
        best = [dataset.movie_ids[row] for row in order[:8].tolist()]
        assert all(movie.startswith(f"b{block}+0") for movie in best), best


def test_content_regression_left_out_error_is_that_of_refits() -> None:
    """The closed form of leaving a movie out equals the fit without it."""
    rng = np.random.default_rng(1)
    features, targets, counts = rng.random((25, 2)), rng.standard_normal((25, 1)), rng.integers(1, 9, 25).astype(float)
    error = 0.0
    for row in range(25):
        others = counts.copy()
        others[row] = 0
        refit = ContentRegression.from_features(features, others)._fit(targets, 3.0)[1]
        error += counts[row] / (counts[row] + content.STRENGTH) * float(((targets[row] - refit[row]) ** 2).sum())
    assert ContentRegression.from_features(features, counts)._fit(targets, 3.0)[0] == pytest.approx(error)


def test_encode_content_uses_genres_year_language_words_and_credits() -> None:
    """Movies that share an attribute share a column; a word of one title is none, and nothing known is zeros."""
    rows = {
        "a": {"genres": "Drama|War", "year": "1999", "language": "FR", "title": "The Last Train", "cast": "Ann|Bo"},
        "b": {"genres": "Drama", "year": "1996", "original_language": "fr", "title": "Train of Life", "credits": "Bo"},
        "c": {"title": "Alone"},
    }
    features = encode_content(["a", "b", "c", "d"], rows)
    shared = (features[0] > 0) & (features[1] > 0)
    assert int(shared.sum()) == 5  # Drama, 1995 to 1999, fr, train, Bo
    assert not features[2:].any()
