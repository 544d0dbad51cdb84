"""The ranking head recommends what similar users like; popularity knows what is liked of late."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from tests.support.synthetic_data import DAY, blocks, dataset, frame

from marquee.data import interactions, sources, splits
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate, model_candidate, popularity_baseline
from marquee.models.ease import EaseParams, RankingFactors, fit_ease, reduced_rank, regression
from marquee.models.popularity import Popularity, PopularityParams, fit_popularity
from marquee.scoring.interaction_weights import interaction_weight
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
DENSE = EaseParams(rank=12, ridge=100, dropout=0.3, dense_max_items=1000, pure_svd_rank=8, trend=0, popular=0)
PURE_SVD = msgspec.structs.replace(DENSE, dense_max_items=0, pure_svd_rank=4)


def even(n_items: int) -> Popularity:
    """All items are as popular as ever, and as one another."""
    return Popularity(np.full(n_items, 1 / n_items), np.ones(n_items))


def scores(head: RankingFactors, weights: np.ndarray) -> np.ndarray:
    return np.asarray((weights @ head.rank_history) @ head.rank_items.T)


@pytest.mark.parametrize("params", [DENSE, PURE_SVD], ids=["dense", "pure_svd"])
def test_who_likes_one_item_of_a_block_is_shown_the_block(params: EaseParams) -> None:
    """From a single item of a block of taste the best eleven others are the rest of that block."""
    data = dataset(blocks())
    known = interactions.weigh_interactions(data)
    head = fit_ease(known, (data.n_users, data.n_items), even(data.n_items), params, 0)
    assert head.rank_items.shape == head.rank_history.shape == (data.n_items, 12)
    for block in range(4):
        mine = [i for i, movie_id in enumerate(data.movie_ids) if movie_id.startswith(f"b{block}+")]
        history = np.zeros(data.n_items)
        history[mine[0]] = 1
        ranked = np.argsort(-scores(head, history))
        assert set(ranked[ranked != mine[0]][:11]) == set(mine[1:])


def test_regression_solves_its_own_problem() -> None:
    """The closed form is where the gradient of the loss is zero off the diagonal, which is 0 itself.

    The loss: ||Y - XB||^2 + ridge ||B||^2 + dropout ||diag(X^T X)^(1/2) B||^2.
    """
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 6)), rng.random((30, 6))
    b = regression(csr_array(x), csr_array(y), 2.0, 0.3)
    gradient = x.T @ (x @ b - y) + (2.0 + 0.3 * np.diag(x.T @ x))[:, None] * b
    np.testing.assert_allclose(gradient - np.diag(np.diag(gradient)), 0, atol=1e-9)
    np.testing.assert_array_equal(np.diag(b), 0)


def test_on_its_own_history_it_is_ease() -> None:
    """With targets equal to the history and no dropout the closed form is Steck's: -P / diag(P)."""
    x = np.random.default_rng(0).random((30, 6))
    inverse = np.linalg.inv(x.T @ x + 2.0 * np.eye(6))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(regression(csr_array(x), csr_array(x), 2.0), expected, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 4, 30])
def test_no_head_of_its_rank_has_nearer_scores(rank: int) -> None:
    """The scores are the best approximation of their rank to those of the whole matrix (Eckart and Young)."""
    rng = np.random.default_rng(1)
    x, b = rng.random((50, 30)) ** 4, rng.normal(0, 1, (30, 30))
    head = reduced_rank(csr_array(x), b, rank, 0)
    left, scale, right = np.linalg.svd(x @ b, full_matrices=False)
    best = (left[:, :rank] * scale[:rank]) @ right[:rank]
    ours = np.linalg.norm(x @ b - scores(head, x))
    assert ours == pytest.approx(np.linalg.norm(x @ b - best), rel=1e-3, abs=1e-6)


def test_better_than_ease_on_movielens(base_data: Path) -> None:
    """On a random fold, where time says nothing, the head of rank 64 ranks better than EASE at full rank."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    split = next(splits.k_folds(data, 5, 0))
    known, shape = interactions.weigh_interactions(split.train), (data.n_users, data.n_items)
    params = msgspec.structs.replace(PARAMS.ranking, trend=0, popular=0)
    head = fit_ease(known, shape, even(data.n_items), params, 0)
    history = csr_array((known.weights, (known.users, known.items)), shape=shape)
    liked = csr_array((1.0 * (known.ratings >= 4), (known.users, known.items)), shape=shape)
    ease = regression(liked, liked, 300)

    def ndcg(score: Callable[[np.ndarray], np.ndarray]) -> float:
        return float(offline.ranking_by_user(Candidate("it", score=score), split)["ndcg@10"].mean())

    ours = ndcg(lambda users: (history[users] @ head.rank_history) @ head.rank_items.T)
    assert ours > ndcg(lambda users: liked[users] @ ease) + 0.002
    assert ours > 0.38


def test_what_is_popular_of_late_is_part_of_the_head() -> None:
    """Of two items as near to the history the one that grows comes first, and so does the more popular one."""
    data = dataset(blocks(2, 20, 4))
    known = interactions.weigh_interactions(data)
    mine = [i for i, movie_id in enumerate(data.movie_ids) if movie_id.startswith("b1+")]
    history = np.zeros(data.n_items)
    history[mine[0]] = 1
    late = np.full(data.n_items, 0.01)
    late[mine[2]] = 0.9
    popular = msgspec.structs.replace(DENSE, popular=10)
    shape = (data.n_users, data.n_items)
    head = fit_ease(known, shape, Popularity(late, np.ones(data.n_items)), popular, 0)
    assert np.argmax(scores(head, history)) == mine[2]
    growth = np.ones(data.n_items)
    growth[mine[3]] = 20
    head = fit_ease(known, shape, Popularity(late, growth), msgspec.structs.replace(DENSE, trend=1), 0)
    assert np.argmax(scores(head, history)) == mine[3]


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_tiny_catalogues(n_items: int) -> None:
    """One or two items give a head of the usual width, without an error."""
    rows = [(f"u{u}", f"f{f}+1", 1.0 + (u + f) % 5, u * 10 + f) for u in range(4) for f in range(n_items)]
    data = dataset(frame(*rows))
    for params in (DENSE, PURE_SVD):
        head = fit_ease(interactions.weigh_interactions(data), (4, n_items), even(n_items), params, 0)
        assert head.rank_items.shape == (n_items, 12)
        assert np.isfinite(head.rank_items).all()


def test_better_than_popularity_where_taste_matters() -> None:
    """Where all blocks are equally popular the head knows the user's block, four times as narrow a choice."""
    data = dataset(blocks())
    split = splits.per_user_holdout(data, 0.3)
    model = train_model(split.train, PARAMS)
    ours = offline.ranking_by_user(model_candidate(model), split)["ndcg@10"].mean()
    theirs = offline.ranking_by_user(popularity_baseline(model), split)["ndcg@10"].mean()
    assert ours > 2.5 * theirs


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2])
def test_better_than_popularity_on_movielens(base_data: Path, fraction: float) -> None:
    """On the newest slices of MovieLens 100K it beats even popularity of late."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    split = splits.temporal_holdout(data, fraction)
    model = train_model(split.train, PARAMS)
    ours = offline.ranking_by_user(model_candidate(model), split)
    theirs = offline.ranking_by_user(popularity_baseline(model), split)
    assert ours["ndcg@10"].mean() > theirs["ndcg@10"].mean()


def test_evidence_follows_the_one_rule() -> None:
    """Every pair comes once with the weight that answering gives it; where both are known the rating speaks."""
    data = dataset(
        frame(("u", "a+1", 5.0, 1), ("u", "b+1", 1.0, 2)),
        frame(("u", "b+1", 120.0, 1), ("u", "c+1", 90.0, 3), ("v", "c+1", 2.0, 4)),
    )
    found = interactions.weigh_interactions(data)
    expected = [
        (0, 0, 5.0, interaction_weight(5.0, None, 1, 5)),
        (0, 1, 1.0, interaction_weight(1.0, None, 1, 5)),
        (0, 2, None, interaction_weight(None, 90, 1, 5)),
        (1, 2, None, interaction_weight(None, 2, 1, 5)),
    ]
    rows = zip(found.users, found.items, found.ratings, found.weights, strict=True)
    assert [(u, i, None if np.isnan(r) else r, w) for u, i, r, w in rows] == expected


@given(st.floats(1, 10), st.floats(1, 10))
def test_a_better_rating_never_weighs_less(one: float, other: float) -> None:
    """Between the whole numbers of any scale too; and every item that was chosen weighs something."""
    low, high = sorted((one, other))
    assert 0 < interaction_weight(low, None, 1, 10) <= interaction_weight(high, None, 1, 10)


def test_the_rule_is_the_same_on_any_scale() -> None:
    """Places on the scale are what counts, not numbers."""
    assert interaction_weight(10, None, 1, 10) == interaction_weight(5, None, 1, 5)
    assert interaction_weight(7.75, None, 1, 10) == pytest.approx(interaction_weight(4, None, 1, 5))
    assert interaction_weight(5.5, None, 1, 10) == pytest.approx(interaction_weight(3, None, 1, 5))


def test_a_item_watched_to_the_end_is_a_sign_of_liking() -> None:
    """Watch sessions alone, without a rating of those items, put the other items of the block first."""
    rated = blocks(2, 20, 6)
    watched = frame(*(("new", f"b1+{item:04}", 95.0, 10**9) for item in (0, 1)))
    data = dataset(rated, watched)
    model = train_model(data, PARAMS)
    user = data.user_ids.index("new")
    scores = model_candidate(model).score
    assert scores is not None
    best = np.argsort(-scores(np.array([user], np.int32))[0])
    unseen = [data.movie_ids[i] for i in best if data.movie_ids[i] not in ("b1+0000", "b1+0001")]
    assert all(movie_id.startswith("b1+") for movie_id in unseen[:4])


def test_what_is_liked_of_late_counts_more() -> None:
    """A like halves with the half-life; all items have the share that the decayed counts say."""
    data = dataset(
        frame(("u", "old+1", 5.0, 0), ("v", "new+1", 5.0, 10 * DAY), ("v", "bad+1", 1.0, 10 * DAY))
    )
    result = fit_popularity(
        interactions.weigh_interactions(data), 3, PopularityParams(half_life_days=10, prior_likes=0)
    )
    rated = interaction_weight(1.0, None, 1, 5)
    fractions = {movie_id: result.of_late[i] for i, movie_id in enumerate(data.movie_ids)}
    loved = interaction_weight(5.0, None, 1, 5)
    total = 1.5 * loved + rated
    expected = {"new+1": loved / total, "old+1": 0.5 * loved / total, "bad+1": rated / total}
    assert fractions == pytest.approx(expected)


@given(st.floats(0.1, 1000), st.floats(0, 1000))
def test_shares_sum_to_one(half_life: float, prior: float) -> None:
    """Whatever the parameters, shares are not negative and sum to 1, and growth is finite."""
    known = interactions.weigh_interactions(dataset(blocks(2, 5, 4)))
    result = fit_popularity(known, 9, PopularityParams(half_life, prior))
    assert result.of_late.sum() == pytest.approx(1)
    assert (result.of_late >= 0).all()
    assert np.isfinite(result.growth).all()


def test_a_young_stream_does_not_wipe_out_the_past() -> None:
    """Decades later, after one like, the items of old still have nearly the shares that they had."""
    rows = [(f"u{n}", f"f{n % 5}+1", 5.0, n) for n in range(50)]
    data = dataset(frame(*rows, ("new", "f5+1", 5.0, 9000 * DAY)))
    result = fit_popularity(interactions.weigh_interactions(data), 6, PopularityParams(14, 1000))
    assert result.of_late[:5] == pytest.approx(0.2, rel=0.05)
