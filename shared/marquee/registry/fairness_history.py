"""Fairness of the released models, from their manifests and gate reports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import msgspec

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.gate_report import GateReport, load_reports
from marquee.registry.manifest import Metric, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import iter_releases

_NAMES = ("rmse_gap.", "ndcg_gap.", "exposure_gini", "tail_exposure")


class ReleaseFairness(msgspec.Struct, frozen=True):
    """Fairness of one arm of a release.

    ``values``: gaps and exposure on the temporal holdout, by name. ``differences``: from the model that served before
    it, with intervals. ``outcome`` is that of the newest gate report, "" if there is none.
    """

    release: int
    created: datetime
    arm: str
    version: str
    values: dict[str, Metric]
    differences: dict[str, Metric]
    outcome: str


def list_fairness(store: ObjectStore, limit: int) -> list[ReleaseFairness]:
    """Return the fairness of each arm of the ``limit`` newest releases, newest first.

    An artifact that was deleted has no values.
    """
    return [
        _describe(store, release.number, release.created, arm.name, arm.version)
        for release in islice(iter_releases(store), limit)
        for arm in release.arms
    ]


def _describe(store: ObjectStore, number: int, created: datetime, arm: str, version: str) -> ReleaseFairness:
    try:
        metrics = read_manifest(store, version).metrics
    except (ObjectNotFound, ArtifactRefused):
        metrics = {}
    reports = load_reports(store, version)
    return ReleaseFairness(
        number,
        created,
        arm,
        version,
        {name: metric for name, metric in metrics.items() if name.startswith(_NAMES)},
        dict(_fairness_differences(reports)),
        reports[-1].outcome if reports else "",
    )


def _fairness_differences(reports: list[GateReport]) -> Iterator[tuple[str, Metric]]:
    """Yield the differences of the newest report that concern fairness."""
    for name, metric in (reports[-1].differences if reports else {}).items():
        if name.partition(".")[2].startswith(_NAMES):
            yield name, metric
