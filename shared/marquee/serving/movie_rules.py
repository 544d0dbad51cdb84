"""Evaluation of rules over a catalog, as cached masks of the movies that pass."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.errors import InvalidRequest
from marquee.registry.movie_metadata import MetadataFile, MovieMetadata
from marquee.serving.list_request import NO_RULES, Rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.registry.policy import Quota

Mask: TypeAlias = "NDArray[np.bool_]"

MAX_MASKS = 64


def check_genres(rules: Rules, catalogs: Iterable[MovieRules]) -> None:
    """Raise :class:`InvalidRequest` for a genre that no movie of the catalogs has, if their movies have genres."""
    known = frozenset[str]().union(*(catalog.genres for catalog in catalogs))
    unknown = [name for name in (*rules.genres, *rules.genres_excluded) if name not in known]
    if unknown and known:
        raise InvalidRequest(f"genre has {unknown[0]!a}, which no movie has: use {', '.join(sorted(known))}.")


class MovieRules:
    """Masks of the movies of an artifact that pass rules. Built on first use; safe to share between threads.

    A movie whose attribute is unknown fails a rule that asks for a value, and passes one that excludes a genre.
    """

    def __init__(self, file: MetadataFile, n_items: int) -> None:
        self._file = file
        self._n_items = n_items
        self._masks: OrderedDict[tuple[object, ...], Mask] = OrderedDict()
        self._names: dict[str, dict[str, Mask]] = {}
        self._lock = threading.Lock()

    def passing(self, rules: Rules, unknown_age_passes: bool) -> Mask | None:
        """Return the movies that pass, [n_items], read-only; None if all do."""
        if rules == NO_RULES:
            return None
        return self._cached((rules, unknown_age_passes), lambda: self._evaluate(rules, unknown_age_passes))

    def members(self, quota: Quota) -> Mask:
        """Return the movies that a quota counts, [n_items], read-only."""
        column = {"country": "countries", "language": "languages", "genre": "genres"}[quota.attribute]
        values = tuple(value.lower() for value in quota.values)
        return self._cached(("quota", column, values), lambda: self._any_of(column, values))

    @cached_property
    def genres(self) -> frozenset[str]:
        """The genres of the movies, in lower case."""
        return frozenset(name for text in set(self._metadata.genres) for name in text.lower().split("|") if name)

    @cached_property
    def costs(self) -> NDArray[np.float32] | None:
        """The license fees, [n_items], read-only, with the mean in place of unknown ones; None if all are unknown."""
        if not self._metadata.costs:
            return None
        costs = np.array(self._metadata.costs, np.float32)
        costs[costs < 0] = costs[costs >= 0].mean()
        costs.flags.writeable = False
        return costs

    def lower_age(self, age: int) -> int:
        """Return the highest age rating of the catalog up to ``age``, which has the same effect and reveals less."""
        ratings = self._age_ratings
        return int(ratings[ratings <= max(age, 0)].max())

    @cached_property
    def _age_ratings(self) -> NDArray[np.integer]:
        return np.unique(np.array([0, *self._metadata.ages]))

    @property
    def _metadata(self) -> MovieMetadata:
        return self._file.read()

    def _cached(self, key: tuple[object, ...], make: Callable[[], Mask]) -> Mask:
        with self._lock:
            mask = self._masks.get(key)
            if mask is not None:
                self._masks.move_to_end(key)
                return mask
            new = make()
            new.flags.writeable = False
            self._masks[key] = new
            if len(self._masks) > MAX_MASKS:
                self._masks.popitem(last=False)
            return new

    def _evaluate(self, rules: Rules, unknown_age_passes: bool) -> Mask:
        metadata, passing = self._metadata, np.ones(self._n_items, np.bool_)
        if rules.genres:
            passing &= self._any_of("genres", rules.genres)
        if rules.genres_excluded:
            passing &= ~self._any_of("genres", rules.genres_excluded)
        if rules.year_min is not None or rules.year_max is not None:
            years = self._numbers(metadata.years, 0)
            passing &= (years >= max(rules.year_min or 1, 1)) & (years <= (rules.year_max or 10_000))
        if rules.languages:
            passing &= self._any_of("languages", rules.languages)
        if rules.max_age is not None:
            ages = self._numbers(metadata.ages, -1)
            passing &= (ages <= rules.max_age) & ((ages >= 0) | unknown_age_passes)
        if rules.max_cost is not None:
            costs = self._numbers(metadata.costs, -1)
            passing &= (costs >= 0) & (costs <= np.float32(rules.max_cost))
        return passing

    def _numbers(self, column: Sequence[float], unknown: int) -> NDArray[np.float32]:
        return np.array(column, np.float32) if column else np.full(self._n_items, unknown, np.float32)

    def _any_of(self, column: str, names: Sequence[str]) -> Mask:
        """Return the movies that have one of ``names`` in a column of texts."""
        if column not in self._names:
            self._names[column] = self._index(getattr(self._metadata, column))
        masks = [self._names[column][name] for name in names if name in self._names[column]]
        return np.logical_or.reduce(masks) if masks else np.zeros(self._n_items, np.bool_)

    def _index(self, texts: Sequence[str]) -> dict[str, Mask]:
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            if text:
                for name in text.lower().split("|"):
                    rows.setdefault(name, []).append(row)
        masks = {}
        for name, members in rows.items():
            masks[name] = np.zeros(self._n_items, np.bool_)
            masks[name][members] = True
        return masks
