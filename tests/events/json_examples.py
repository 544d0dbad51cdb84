"""One JSON record of each kind, and its event."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from marquee.events.kinds import AccountCreated, Click, Event, ImpressionShown, Rating, RecommendationRequest, Watch

TIME = datetime(2026, 2, 14, 12, 0, 2, 250_000, tzinfo=UTC)
MOVIE = "fargo+1996"


def make_event(type: str, id: str = "e1", user_id: str = "7", **fields: object) -> str:
    """Return a JSON record."""
    head = {"id": id, "time": "2026-02-14T12:00:02.250Z", "type": type, "user_id": user_id}
    return json.dumps(head | fields)


def rating(id: str, user_id: str = "7", rating: float = 4, **fields: object) -> str:
    """Return the JSON record of a rating."""
    return make_event("rating", id, user_id, **{"movie_id": MOVIE, "rating": rating, **fields})


EXAMPLES: dict[str, Event] = {
    make_event("watch", "e1", movie_id=MOVIE, minute=17): Watch(TIME, "7", MOVIE, 17),
    make_event("rating", "e2", movie_id=MOVIE, rating=5): Rating(TIME, "7", MOVIE, 5),
    make_event(
        "recommendation_request", "e3", server="a:80", status=200, movie_ids=[MOVIE], result="", response_ms=31
    ): RecommendationRequest(TIME, "7", "a:80", 200, (MOVIE,), "", 31),
    make_event("account", "e4"): AccountCreated(TIME, "7"),
    make_event("impression_shown", "e5", recommendation_id="r1", movie_ids=[MOVIE, "up+2009"]): ImpressionShown(
        TIME, "7", "r1", (MOVIE, "up+2009")
    ),
    make_event("click", "e6", recommendation_id="r1", movie_id=MOVIE): Click(TIME, "7", "r1", MOVIE),
}
