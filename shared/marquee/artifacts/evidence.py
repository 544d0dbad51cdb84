"""How much a film in a user's history says of his taste: one rule, for training and for answering.

The ranking head sums a row of its history side for each film of a user, times this weight. What a trainer
puts into the histories and what an answer makes of a film watched a second ago have to be the same.
"""

from __future__ import annotations

LIKED = 0.75  # of the way from the lowest to the highest rating: 4 of 1 to 5, 8 of 1 to 10
TRIED_MINUTES = 20

_LIKE, _RATED, _WATCHED, _TRIED = 1.0, 0.1, 0.5, 0.1


def film_weight(rating: float | None, last_minute: int | None, low: float, high: float) -> float:
    """The weight, above 0, of a film that was rated from ``low`` to ``high``, or else watched.

    A rating says more than the minutes do. A film that was chosen and not liked still says a little.
    """
    if rating is not None:
        return _LIKE if rating >= low + LIKED * (high - low) else _RATED
    return _WATCHED if (last_minute or 0) >= TRIED_MINUTES else _TRIED
