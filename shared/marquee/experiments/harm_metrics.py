"""Metrics of an experiment: units, direction of harm, and the largest possible harm of each."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["coin", "paired", "ratio"]


class HarmMetric(NamedTuple):
    """A metric ``sum y / sum x``.

    - ``kind``: `paired` compares two models on the same data of all users, so it has one sample; `ratio` compares two
      arms; `coin` compares two arms by the number of users with a failed request
    - ``harm``: 1 if larger values are worse, else -1
    - ``worst``: largest possible harm; None for the whole baseline
    - ``silent``: the metric does not delay a step while it has no data
    """

    kind: Kind
    harm: Literal[1, -1]
    y: str
    x: str
    worst: float | None = 1.0
    silent: bool = False


METRICS = {
    "answered": HarmMetric("coin", 1, "failed or late requests", "requests"),
    "rates": HarmMetric("paired", 1, "squared error of the new model minus that of the old", "ratings", worst=16.0),
    "ranks": HarmMetric(
        "paired", 1, "hits of the old list minus those of the new", "views without a list", silent=True
    ),
    "watched": HarmMetric("ratio", -1, "movies begun within the window", "lists whose window is over", worst=None),
    "clicked": HarmMetric(
        "ratio", -1, "movies clicked within the window", "lists whose window is over", worst=None, silent=True
    ),
    "minutes": HarmMetric("ratio", -1, "minutes of movies shown", "user-days since enrollment", worst=None),
    "all_minutes": HarmMetric("ratio", -1, "minutes of all movies", "user-days since enrollment", worst=None),
    "asks": HarmMetric("ratio", -1, "requests", "user-days since enrollment", worst=None),
    "late": HarmMetric("ratio", 1, "late requests", "requests"),
    "preferred": HarmMetric("paired", -1, "begun of the new team minus begun of control's", "interleaved lists"),
}
"""All metrics by name. The worst squared error is that of the scale from 1 to 5."""
