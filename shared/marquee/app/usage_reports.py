"""Reports on the use of the app: days with sessions and loss, funnels, screen times, retention and list outcomes.

Each report is one aggregation in MongoDB. Groups of fewer than :data:`FEW` users are hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from marquee.app.documents import Document, Documents

Pipeline: TypeAlias = "list[dict[str, Any]]"

FEW = 5
"""Minimum number of users of a group that is shown."""
FUNNEL = ("movies_seen", "movie_opened", "play_started", "play_finished")
LONGEST_SCREEN_S = 1_800
"""Upper limit of a view's duration; after it the screen counts as left open."""
_FAILED = ("error", "app_exited")
_DAY = timedelta(days=1)


class DayReport(msgspec.Struct, frozen=True):
    """One day. ``lost`` counts gaps in the event numbers of sessions. With too few users the other fields are None."""

    events: int
    lost: int
    users: int | None = None
    sessions: int | None = None
    failed_sessions: int | None = None


class FunnelStep(msgspec.Struct, frozen=True):
    """Number of users who reached the step ``name``, in the order of :data:`FUNNEL`."""

    name: str
    users: int


class ScreenTime(msgspec.Struct, frozen=True):
    """Views of a screen and their duration in seconds, until the next event of the session."""

    screen: str
    views: int
    users: int
    p50_s: float
    p95_s: float


class CohortWeek(msgspec.Struct, frozen=True):
    """Users first seen in the week that begins on ``cohort`` (a Monday) who returned ``weeks`` later."""

    cohort: datetime
    weeks: int
    users: int


class ListOutcome(msgspec.Struct, frozen=True):
    """The outcome of one movie of one recommendation, as far as its user's device reported it."""

    recommendation_id: str
    movie_id: str
    user_id: str
    position: int | None
    seen: bool
    opened: bool
    played: bool
    finished: bool
    at: datetime


def report_day(documents: Documents, day: datetime) -> DayReport | None:
    """Return the report of the day that begins at ``day``, or None if it has no events."""
    failed = {"$max": {"$cond": [{"$in": ["$name", list(_FAILED)]}, 1, 0]}}
    session = {
        "_id": "$session",
        "user": {"$first": "$user_id"},
        "events": {"$sum": 1},
        "first": {"$min": "$seq"},
        "last": {"$max": "$seq"},
        "failed": failed,
    }
    numbered = {"$add": [{"$subtract": ["$last", "$first"]}, 1]}
    total = {
        "_id": None,
        "events": {"$sum": "$events"},
        "lost": {"$sum": {"$subtract": [numbered, "$events"]}},
        "sessions": {"$sum": 1},
        "failed": {"$sum": "$failed"},
        "users": {"$addToSet": "$user"},
    }
    for row in _aggregate(documents, [_between(day, day + _DAY), {"$group": session}, {"$group": total}]):
        users = len(row["users"])
        if users < FEW:
            return DayReport(row["events"], row["lost"])
        return DayReport(row["events"], row["lost"], users, row["sessions"], row["failed"])
    return None


def report_funnel(documents: Documents, since: datetime, until: datetime) -> list[FunnelStep]:
    """Return the number of users who reached each step in order between two times; [] if they are too few."""
    next_name = {"$arrayElemAt": [list(FUNNEL), "$$value"]}
    advance = {"$cond": [{"$eq": ["$$this", next_name]}, {"$add": ["$$value", 1]}, "$$value"]}
    pipeline: Pipeline = [
        _between(since, until, name={"$in": list(FUNNEL)}),
        {"$sort": {"at": 1, "_id": 1}},
        {"$group": {"_id": "$user_id", "names": {"$push": "$name"}}},
        {"$set": {"depth": {"$reduce": {"input": "$names", "initialValue": 0, "in": advance}}}},
        {"$group": {"_id": "$depth", "users": {"$sum": 1}}},
    ]
    by_depth = {row["_id"]: row["users"] for row in _aggregate(documents, pipeline)}
    reached = [sum(users for depth, users in by_depth.items() if depth > step) for step in range(len(FUNNEL))]
    return [FunnelStep(name, users) for name, users in zip(FUNNEL, reached, strict=True) if users >= FEW]


def report_screens(documents: Documents, since: datetime, until: datetime) -> list[ScreenTime]:
    """Return views and durations of each screen between two times, sorted by the number of views."""
    following = {"$shift": {"output": "$at", "by": 1}}
    milliseconds = {"$dateDiff": {"startDate": "$at", "endDate": "$next", "unit": "millisecond"}}
    screen = {
        "_id": "$screen",
        "views": {"$sum": 1},
        "users": {"$addToSet": "$user_id"},
        "p": {"$percentile": {"input": "$s", "p": [0.5, 0.95], "method": "approximate"}},
    }
    pipeline: Pipeline = [
        _between(since, until),
        {"$setWindowFields": {"partitionBy": "$session", "sortBy": {"seq": 1}, "output": {"next": following}}},
        {"$match": {"name": "screen_viewed", "next": {"$ne": None}}},
        {"$set": {"s": {"$divide": [milliseconds, 1_000]}}},
        {"$match": {"s": {"$gte": 0, "$lt": LONGEST_SCREEN_S}}},
        {"$group": screen},
        {"$set": {"users": {"$size": "$users"}}},
        {"$match": {"users": {"$gte": FEW}}},
        {"$sort": {"views": -1, "_id": 1}},
    ]
    rows = _aggregate(documents, pipeline)
    return [ScreenTime(row["_id"], row["views"], row["users"], *map(float, row["p"])) for row in rows]


def report_retention(documents: Documents, since: datetime, until: datetime) -> list[CohortWeek]:
    """Return the number of users of each weekly cohort since ``since`` who returned in each later week.

    A user's cohort is the week of their first event that is still kept.
    """
    week = {"$dateTrunc": {"date": "$at", "unit": "week", "startOfWeek": "monday"}}
    later = {"$dateDiff": {"startDate": "$first", "endDate": "$weeks", "unit": "week", "startOfWeek": "monday"}}
    pipeline: Pipeline = [
        {"$match": {"at": {"$lt": until}}},
        {"$group": {"_id": "$user_id", "weeks": {"$addToSet": week}}},
        {"$set": {"first": {"$min": "$weeks"}}},
        {"$match": {"first": {"$gte": since}}},
        {"$unwind": "$weeks"},
        {"$group": {"_id": {"first": "$first", "weeks": later}, "users": {"$sum": 1}}},
        {"$match": {"users": {"$gte": FEW}}},
        {"$sort": {"_id.first": 1, "_id.weeks": 1}},
    ]
    return [CohortWeek(r["_id"]["first"], r["_id"]["weeks"], r["users"]) for r in _aggregate(documents, pipeline)]


def read_outcomes(documents: Documents, since: datetime, until: datetime) -> Iterator[ListOutcome]:
    """Yield the outcomes of listed movies, from the events that arrived between two times alone."""
    fold = {
        "_id": {"recommendation": "$recommendation", "movie": "$movie", "user": "$user_id"},
        "position": {"$min": "$position"},
        "seen": _happened("movies_seen"),
        "opened": _happened("movie_opened"),
        "played": _happened("play_started"),
        "finished": _happened("play_finished"),
        "at": {"$min": "$at"},
    }
    arrived = {"$gte": since, "$lt": until}
    of_lists = {"recommendation": {"$type": "string"}, "movie": {"$type": "string"}}
    for row in _aggregate(documents, [{"$match": {"received": arrived, **of_lists}}, {"$group": fold}]):
        key = row["_id"]
        yield ListOutcome(
            key["recommendation"],
            key["movie"],
            key["user"],
            row["position"],
            bool(row["seen"]),
            bool(row["opened"]),
            bool(row["played"]),
            bool(row["finished"]),
            row["at"],
        )


def find_days(documents: Documents, since: datetime, until: datetime) -> list[datetime]:
    """Return the days on which events happened that arrived between two times."""
    day = {"$dateTrunc": {"date": "$at", "unit": "day"}}
    rows = _aggregate(documents, [{"$match": {"received": {"$gte": since, "$lt": until}}}, {"$group": {"_id": day}}])
    return sorted(row["_id"] for row in rows)


def _happened(name: str) -> dict[str, Any]:
    return {"$max": {"$cond": [{"$eq": ["$name", name]}, 1, 0]}}


def _between(since: datetime, until: datetime, **more: Any) -> dict[str, Any]:
    return {"$match": {"at": {"$gte": since, "$lt": until}, **more}}


def _aggregate(documents: Documents, pipeline: Pipeline) -> list[Document]:
    with documents.collection("events") as events:
        return list(events.aggregate(pipeline, allowDiskUse=True))
