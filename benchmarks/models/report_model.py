"""What `marquee compare` finds: ``reports/models.json``."""

from __future__ import annotations

import msgspec

from marquee.evaluation.bootstrap import Estimate
from marquee.evaluation.paired_test import PairedComparison


class AlgorithmResult(msgspec.Struct, frozen=True):
    """One system under one protocol. ``cpu_s``: of one training, on average; ``answer_us``: of a list of 20;
    ``in_memory`` and ``on_disk``: bytes.
    """

    name: str
    figures: dict[str, Estimate]
    cpu_s: float
    answer_us: float
    in_memory: int
    on_disk: int


class Protocol(msgspec.Struct, frozen=True):
    """How the data were cut, and all systems on it. ``ratings`` were predicted, of ``users``."""

    name: str
    ratings: int
    users: int
    rows: list[AlgorithmResult]


class Cut(msgspec.Struct, frozen=True):
    """What serves, trained on all before ``at`` (a share of the ratings, by time), on the tenth that came after.

    ``rmse``: by system, by those of "all", "known" (with ratings before the cut) and "new" that there are.
    ``ndcg``: at 10, by list. ``covered``: the share of the ratings within the 80 % interval that the cut before had
    calibrated, likewise.
    """

    at: float
    ratings: int
    users: int
    new_users: int
    rmse: dict[str, dict[str, Estimate]]
    ndcg: dict[str, Estimate]
    covered: dict[str, Estimate]


class Cohorts(msgspec.Struct, frozen=True):
    """New users' lists by cohort against the popular list, by how much of the average user is mixed into a group:
    over the past cuts together, and with what serves on the newest slice. NDCG at 10 and 20; empty where
    nobody is new.
    """

    past: dict[str, list[PairedComparison]]
    newest: list[PairedComparison]
    serves: str


class ModelReport(msgspec.Struct, frozen=True):
    """Everything. ``made``: the day; ``machine``: its class; ``notes``: by system, what it is."""

    made: str
    machine: str
    versions: dict[str, str]
    seed: int
    data: str
    interval: float
    resamples: int
    notes: dict[str, str]
    protocols: list[Protocol]
    cuts: list[Cut]
    pooled: Cut  # the past cuts, all but the last, together
    cohorts: Cohorts
