"""Lists for many users at once, for offline use: one product of matrices for each block of users.

By what the artifact knows, without fresh histories, customers or chance; up to the rounding of float32 the
lists are those that :meth:`Engine.recommend` gives one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from marquee.artifacts.heads import ItemSide, taste
from marquee.recommend.engine import Engine, Film, Tier
from marquee.recommend.profile import Profile, profile_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 256
"""Users in one product: at 27,000 films 28 MB of scores."""


def recommend_all(
    engine: Engine, user_ids: Iterable[str], n: int, *, block: int = BLOCK
) -> Iterator[tuple[str, Tier, list[Film]]]:
    """The ``n`` best films of each user, in the order of ``user_ids``; memory is that of one block.

    Raises the store's errors.
    """
    users = iter(user_ids)
    while ids := list(islice(users, block)):
        profiles = [profile_of(engine.side, engine.read_record(user_id), None) for user_id in ids]
        scores = tastes(engine.side, profiles) @ engine.side.rank_items.T
        for user_id, profile, own in zip(ids, profiles, scores, strict=True):
            yield user_id, *engine.best(profile, own, n)


def tastes(side: ItemSide, profiles: list[Profile]) -> NDArray[np.float32]:
    """What the ranking head makes of each history, [n_profiles, r]; zeros where there is none."""
    found = np.zeros((len(profiles), side.rank_history.shape[1]), np.float32)
    for row, profile in zip(found, profiles, strict=True):
        if len(profile.items):
            row[:] = taste(side, profile.items, profile.weights)
    return found
