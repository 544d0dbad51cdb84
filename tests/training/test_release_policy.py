"""The release policy: decisions about models with known faults, comparisons and rivals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.training.runs import (
    UNTRAINED,
    reference_params,
    retrain_until,
)

from marquee.evaluation import artifact_candidate
from marquee.evaluation.paired_test import PairedComparison, Significance
from marquee.registry import gate_report, rollout
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, read_current_release
from marquee.training import release_policy
from marquee.training.release_policy import Evidence, decide_release

VERSION, OLDER, NEWER = "20260102T000000-bbbb", "20260101T000000-aaaa", "20260103T000000-cccc"
EQUAL = PairedComparison("rmse", "serving", 1.0, 1.0, 0.0, -0.1, 0.1, 99, Significance.EQUAL)
WORSE = msgspec.structs.replace(EQUAL, verdict=Significance.WORSE)
TOO_FEW = msgspec.structs.replace(EQUAL, verdict=Significance.TOO_FEW)


def release_of(*versions: str) -> Release:
    """Return release 7 with an arm of equal weight for each version."""
    arms = tuple(Arm(f"arm-{n}", version, 1 / len(versions)) for n, version in enumerate(versions))
    return Release(number=7, created=datetime(2026, 1, 1, tzinfo=UTC), author="t", reason="", salt="s", arms=arms)


@pytest.mark.parametrize(
    ("current", "evidence", "outcome", "reason"),
    [
        (None, Evidence(), "released", "no objections"),
        (release_of(OLDER), Evidence(comparisons=(EQUAL, TOO_FEW)), "released", "no objections"),
        (release_of(VERSION), Evidence(), "released", "no objections"),
        (release_of(OLDER), Evidence(fault="bad hash"), "refused", "bad hash"),
        (release_of(OLDER), Evidence(comparisons=(EQUAL, WORSE)), "refused", "is worse than serving's"),
        (release_of(OLDER), Evidence(drift=("data gone",)), "refused", "data gone"),
        (release_of(OLDER), Evidence("bad hash", (WORSE,), ("data gone",)), "refused", "bad hash; rmse"),
        (release_of(OLDER, OLDER), Evidence(), "held", "release 7 is an experiment"),
        (release_of(OLDER, NEWER), Evidence(), "held", "release 7 is an experiment"),
        (release_of(OLDER, OLDER), Evidence(drift=("data gone",)), "refused", "data gone"),
    ],
)
def test_decide_release_evidence_gives_outcome_and_reason(
    current: Release | None, evidence: Evidence, outcome: str, reason: str
) -> None:
    """Objections refuse a model, an experiment holds it back, and a result in doubt releases it."""
    decision = decide_release(VERSION, current, lambda: evidence, releasing=True)
    assert (decision.outcome, decision.evidence) == (outcome, evidence)
    assert reason in decision.reason


def test_decide_release_newer_model_serves_refuses_without_evidence() -> None:
    """An older model is refused before anything is compared, and the message says how to serve it."""

    def fail() -> Evidence:
        raise AssertionError("evidence was collected")

    decision = decide_release(VERSION, release_of(NEWER), fail, releasing=True)
    assert (decision.outcome, decision.evidence) == ("refused", Evidence())
    assert f"events up to 20260103T000000, newer than {VERSION}" in decision.reason
    assert f"marquee release promote {VERSION}" in decision.reason


@pytest.mark.parametrize("current", [None, release_of(NEWER), release_of(OLDER, OLDER)])
def test_decide_release_without_releasing_ignores_what_serves(current: Release | None) -> None:
    """A model that is not to be released is trained or refused by its own evidence alone."""

    def outcome(collect_evidence: Callable[[], Evidence]) -> str:
        return decide_release(VERSION, current, collect_evidence, releasing=False).outcome

    assert outcome(Evidence) == "trained"
    assert outcome(lambda: Evidence(comparisons=(WORSE,))) == "refused"


def test_find_fault_unknown_version_is_reported(store: ObjectStore) -> None:
    """An artifact that does not exist has a fault, so that it is refused."""
    fault = release_policy.find_fault(store, VERSION)
    assert fault
    assert decide_release(VERSION, None, lambda: Evidence(fault), releasing=True).outcome == "refused"


def test_retrain_untrained_model_is_refused(store: ObjectStore, block_base: Path) -> None:
    """A model worse than the serving one is refused and kept with the reason, and the release stays.

    An operator can still promote it.
    """
    good = retrain_until(store, block_base, 600)
    bad = retrain_until(store, block_base, 1000, UNTRAINED)
    assert (good.outcome, bad.outcome) == ("released", "refused")
    assert bad.serving == good.version
    assert "is worse than serving's" in bad.reason
    assert read_current_release(store)[0].arms[0].version == good.version
    (report,) = gate_report.list_refusals(store, 10)
    assert (report.version, report.reason, report.serving) == (bad.version, bad.reason, good.version)
    assert bad.version is not None
    rollout.promote(store, bad.version, author="a person")
    assert read_current_release(store)[0].arms[0].version == bad.version


def test_retrain_equal_model_is_released(store: ObjectStore, block_base: Path) -> None:
    """The same trainer with more recent data is no worse, so it is released."""
    first, second = retrain_until(store, block_base, 850), retrain_until(store, block_base, 1000)
    assert (first.outcome, second.outcome) == ("released", "released"), second.reason
    verdicts = {
        f"{c.metric} {c.baseline}": c.verdict for c in second.comparisons if c.baseline == artifact_candidate.SERVING
    }
    gaps = {f"{metric}_gap.{kind} serving" for metric in ("rmse", "ndcg") for kind in ("gender", "age", "activity")}
    assert set(verdicts) == {"rmse serving", "ndcg@10 serving", "exposure_gini serving", *gaps}
    assert Significance.WORSE not in verdicts.values()


def test_retrain_better_model_is_released(store: ObjectStore, block_base: Path) -> None:
    """A trained model is better than an untrained one that serves, beyond the interval."""
    rollout.promote(store, str(retrain_until(store, block_base, 600, UNTRAINED).version), author="t")
    better = retrain_until(store, block_base, 1000)
    assert better.outcome == "released", better.reason
    (comparison,) = (c for c in better.comparisons if (c.metric, c.baseline) == ("rmse", artifact_candidate.SERVING))
    assert comparison.verdict is Significance.BETTER


def test_retrain_too_few_new_ratings_releases_without_verdict(store: ObjectStore, block_base: Path) -> None:
    """A second after the serving model hardly any rating is new: no verdict, which is recorded and passes."""
    retrain_until(store, block_base, 998)
    result = retrain_until(store, block_base, 1000, reference_params(n_factors=9))
    assert result.outcome == "released", result.reason
    verdicts = [c.verdict for c in result.comparisons if c.baseline == artifact_candidate.SERVING]
    assert verdicts == [Significance.TOO_FEW] * 2
    assert result.version is not None
    (report,) = gate_report.load_reports(store, result.version)
    assert any("too few to tell" in finding for finding in report.findings)


def test_retrain_experiment_runs_holds_good_model(store: ObjectStore, block_base: Path) -> None:
    """While two arms serve, a good model is stored and held, a bad one refused, and the release stays."""
    control = retrain_until(store, block_base, 600)
    canary = retrain_until(store, block_base, 700, reference_params(n_factors=9), releasing=False)
    rollout.canary(store, str(canary.version), weight=0.1, author="t")
    before = read_current_release(store)
    held = retrain_until(store, block_base, 1000)
    assert (held.outcome, held.serving) == ("held", control.version)
    assert "is an experiment (control 0.1, canary 0.1)" in held.reason
    assert f"marquee release promote {held.version}" in held.reason
    assert retrain_until(store, block_base, 1000, UNTRAINED).outcome == "refused"
    assert read_current_release(store) == before
    assert held.version is not None
    assert [report.outcome for report in gate_report.load_reports(store, held.version)] == ["held"]


def test_retrain_drifted_data_is_refused(store: ObjectStore, block_base: Path, tmp_path: Path) -> None:
    """If half of the ratings are missing although time went on, the model is refused, with the count."""
    retrain_until(store, block_base, 990)
    lines = (block_base / "ratings.csv").read_text().splitlines()
    thinned = tmp_path / "thinned"
    thinned.mkdir()
    (thinned / "ratings.csv").write_text("\n".join([lines[0], *lines[1::2], lines[-1]]) + "\n")
    result = retrain_until(store, thinned, 1000)
    assert result.outcome == "refused"
    assert "ratings of the serving model's snapshot are missing" in result.reason


def test_retrain_serving_artifact_missing_is_released(store: ObjectStore, block_base: Path) -> None:
    """If the serving artifact cannot be read, there is no comparison, and a sound model is released."""
    first = retrain_until(store, block_base, 600)
    store.delete(f"models/{first.version}/item_vectors.npy")
    second = retrain_until(store, block_base, 1000)
    assert second.outcome == "released", second.reason
    assert any("cannot serve" in finding for finding in second.findings)


def test_list_objections_counts_each_worse_baseline(store: ObjectStore, block_base: Path) -> None:
    """A model is compared with both baselines; each that is better is one objection, an equal one none."""
    result = retrain_until(store, block_base, 1000, releasing=False)
    assert {(c.metric, c.baseline) for c in result.comparisons} == {
        ("rmse", "bias_only"),
        ("ndcg@10", "popularity"),
    }

    def objections(verdict: Significance) -> list[str]:
        comparisons = (msgspec.structs.replace(c, verdict=verdict) for c in result.comparisons)
        return release_policy.list_objections(Evidence(comparisons=tuple(comparisons)))

    assert len(objections(Significance.WORSE)) == 2
    assert objections(Significance.EQUAL) == []
