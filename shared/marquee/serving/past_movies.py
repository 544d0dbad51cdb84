"""Past movies of a user, as explanations need them: all that does not depend on the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from marquee.registry.item_factors import ItemFactors, history_terms
from marquee.registry.user_store import UserRecord
from marquee.scoring.fold_in import FoldIn, RatingShares
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"


class PastMovies(NamedTuple):
    """A user's ``n`` past movies, and their parts of scores and ratings.

    ``columns`` [3, n]: ids, titles and ratings, as Python objects; a title that is not known and a rating that was not
    given are None. ``terms`` [n, r]: weighted ranking vectors, whose product with an item's is the share of its score.
    ``popularity``: sum of their columns of popularity. ``rating_shares``: 0 for a movie that is not rated.
    """

    columns: NDArray[np.object_]
    terms: Floats
    popularity: Floats
    rating_shares: RatingShares


def read_past(factors: ItemFactors, fold_in: FoldIn, history: UserRecord | UserState) -> PastMovies:
    """Return the past movies of a history."""
    rows, titles = history.items.tolist(), factors.metadata.titles
    terms = history_terms(factors, history.items, history.weights)
    n_taste = terms.shape[1] - factors.manifest.popularity_columns
    rated = ~np.isnan(history.ratings)
    shares = fold_in.prepare_shares(history.items[rated], history.ratings[rated])
    if not rated.all():
        slopes, offsets = np.zeros((len(shares.slopes), len(rows)), np.float32), np.zeros(len(rows), np.float32)
        slopes[:, rated], offsets[rated] = shares.slopes, shares.offsets
        shares = RatingShares(slopes, offsets, shares.shift)
    columns = [
        [factors.movie_ids[row] for row in rows],
        [titles[row] or None for row in rows] if titles else [None] * len(rows),
        [rating if rating == rating else None for rating in history.ratings.tolist()],
    ]
    return PastMovies(np.array(columns, object), terms, terms[:, n_taste:].sum(axis=0), shares)
