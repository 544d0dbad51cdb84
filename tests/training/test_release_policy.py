"""What is released and what is refused: retrainings beside a serving model, with known answers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.support.synthetic_data import SECOND, blocks
from tests.training.runs import GOOD, SPOILED, prepared, run, trained_by

from marquee.cli.main import main
from marquee.data import dvc_remote
from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import artifact_candidate
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.paired_test import Significance
from marquee.registry import gate_report, release, rollout
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import Content, ObjectStore, Version
from marquee.training import release_policy
from marquee.training.pipeline import pipeline_run
from marquee.training.publication import ServingChanged
from marquee.training.publication import release as release_version
from marquee.training.retrain import retrain


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """About 3,300 ratings of 100 users, spread over 999 s from 1970 on."""
    (tmp_path / "base").mkdir()
    ratings = blocks(users=25, items=30)
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(tmp_path / "base/ratings.csv", index=False)
    return tmp_path / "base"


def test_a_spoiled_model_is_refused(store: ObjectStore, base: Path) -> None:
    """A model that has forgotten everything is worse than the one that serves: refused, kept with the reason,
    and what serves goes on serving. By hand it can be served all the same."""
    good = run(store, base, 600)
    spoiled = run(store, base, 1000, SPOILED)
    assert (good.outcome, spoiled.outcome) == ("released", "refused")
    assert spoiled.serving == good.version
    assert "is worse than serving's" in spoiled.reason
    assert release.read_current_release(store)[0].arms[0].version == good.version
    (said,) = gate_report.list_refusals(store, 10)
    assert (said.version, said.reason, said.serving) == (spoiled.version, spoiled.reason, good.version)
    assert spoiled.version is not None
    rollout.promote(store, spoiled.version, author="a person")
    assert release.read_current_release(store)[0].arms[0].version == spoiled.version


def test_an_equal_model_passes(store: ObjectStore, base: Path) -> None:
    """The same trainer with some hours more: no worse, so it serves."""
    first, second = run(store, base, 850), run(store, base, 1000)
    assert (first.outcome, second.outcome) == ("released", "released"), second.reason
    verdicts = {
        f"{c.metric} {c.against}": c.verdict
        for c in second.compared
        if c.against == artifact_candidate.SERVING
    }
    assert set(verdicts) == {"rmse serving", "ndcg@10 serving"}
    assert Significance.WORSE not in verdicts.values()


def test_a_better_model_passes(store: ObjectStore, base: Path) -> None:
    """One that has learnt something against one that had not: better beyond the interval."""
    rollout.promote(store, str(run(store, base, 600, SPOILED).version), author="t")
    better = run(store, base, 1000)
    assert better.outcome == "released", better.reason
    (found,) = (c for c in better.compared if (c.metric, c.against) == ("rmse", artifact_candidate.SERVING))
    assert found.verdict is Significance.BETTER


def test_too_little_that_is_new_is_no_verdict(store: ObjectStore, base: Path) -> None:
    """A second after the serving model there is next to nothing that neither has seen: no verdict, and that
    passes, with the finding on record."""
    run(store, base, 998)
    redelivered = run(store, base, 1000, trained_by(n_factors=9))
    assert redelivered.outcome == "released", redelivered.reason
    assert [c.verdict for c in redelivered.compared if c.against == artifact_candidate.SERVING] == [
        Significance.TOO_FEW
    ] * 2
    assert redelivered.version is not None
    (said,) = gate_report.load_reports(store, redelivered.version)
    assert any("too few to tell" in finding for finding in said.findings)


def test_only_what_neither_has_seen_counts(store: ObjectStore, base: Path, tmp_path: Path) -> None:
    """The serving model has learnt from most of the newest slice: it is asked about what came after it, and
    the new model is the one that would have been made at that moment."""
    serves = run(store, base, 970)
    assert serves.version is not None
    assert serves.trained_through is not None
    done = prepared(base, tmp_path / "run", 1000)
    ratings = read_dataset(done.at(pipeline_run.FEATURES)).ratings
    later = ratings.times > serves.trained_through.timestamp() * SECOND
    rmse, _ = release_policy.against_serving(done, store, serves.version)
    assert rmse.users == len(np.unique(ratings.users[later])) >= 20
    # The same data up to that moment, the same parameters: the same model, to the bit.
    assert rmse.difference == pytest.approx(0, abs=1e-6)


def test_a_stored_artifact_predicts_as_the_model_did(store: ObjectStore, base: Path, tmp_path: Path) -> None:
    """Read back from its files, an artifact gives every rating and ranking that its model gave."""
    version = run(store, base, 1000).version
    done = prepared(base, tmp_path / "run", 1000)
    data = read_dataset(done.at(pipeline_run.FEATURES))
    assert version is not None
    stored, model = (
        artifact_candidate.load_candidate(store, version, data),
        model_candidate(read_model(done.at(pipeline_run.WHOLE))),
    )
    assert stored.rate is not None
    assert stored.score is not None
    assert model.rate is not None
    assert model.score is not None
    users, items = np.divmod(np.arange(data.n_users * data.n_items, dtype=np.int32), data.n_items)
    assert np.allclose(stored.rate(users, items), model.rate(users, items), atol=1e-5)
    some = np.arange(0, data.n_users, 7, dtype=np.int32)
    assert np.allclose(stored.score(some), model.score(some), atol=1e-4)


def test_users_and_movies_that_the_artifact_does_not_know(
    store: ObjectStore, base: Path, tmp_path: Path
) -> None:
    """They get finite ratings on the scale, and unknown movies come last."""
    version = run(store, base, 60).version  # Some users and movies have not come up by then.
    data = read_dataset(prepared(base, tmp_path / "run", 1000).at(pipeline_run.FEATURES))
    assert version is not None
    stored = artifact_candidate.load_candidate(store, version, data)
    assert stored.rate is not None
    assert stored.score is not None
    users, items = np.divmod(np.arange(data.n_users * data.n_items, dtype=np.int32), data.n_items)
    ratings = stored.rate(users, items)
    assert ((ratings >= 1) & (ratings <= 5)).all()
    known = np.isin(data.movie_ids, list(artifact_candidate.read_items(store, version).items))
    scores = stored.score(np.arange(data.n_users, dtype=np.int32))
    assert not known.all()
    assert (scores[:, ~known].max(axis=1) < scores[:, known].min(axis=1)).all()


def test_an_experiment_goes_on(store: ObjectStore, base: Path) -> None:
    """While two arms serve, a good model is stored and held back, and nothing that serves changes; a spoiled
    one is refused as ever."""
    control = run(store, base, 600)
    canary = run(store, base, 700, trained_by(n_factors=9), releasing=False)
    rollout.canary(store, str(canary.version), weight=0.1, author="t")
    before = release.read_current_release(store)
    held = run(store, base, 1000)
    assert (held.outcome, held.serving) == ("held", control.version)
    assert "is an experiment (control 0.9, canary 0.1)" in held.reason
    assert f"marquee release promote {held.version}" in held.reason
    assert run(store, base, 1000, SPOILED).outcome == "refused"
    assert release.read_current_release(store) == before
    assert held.version is not None
    assert [said.outcome for said in gate_report.load_reports(store, held.version)] == ["held"]


class OvertakenStore(FileStore):
    """Promotes ``version`` just before somebody else publishes release 2."""

    version = ""

    def put_new(self, name: str, data: Content) -> Version:
        if name == "releases/2.json" and self.version:
            version, self.version = self.version, ""
            rollout.promote(self, version, author="a faster one")
        return super().put_new(name, data)


def test_another_release_comes_in_between(tmp_path: Path, base: Path) -> None:
    """What serves changes while a model is judged: it is judged again, against what serves now."""
    store = OvertakenStore(tmp_path / "objects")
    run(store, base, 600)
    other = run(store, base, 700, releasing=False)
    store.version = str(other.version)
    result = run(store, base, 1000)
    assert (result.outcome, result.serving) == ("released", other.version)
    assert release.read_current_release(store)[0].number == 3
    with pytest.raises(ServingChanged):
        release_version(store, str(result.version), author="t", reason="", instead_of="another")


class Killed(BaseException):
    """What no program catches."""


class DyingStore(FileStore):
    """Is killed before the write after the next ``writes``."""

    writes = 10**9

    def _write(self, name: str, data: Content, expected: Version | None) -> Version:
        self.writes -= 1
        if self.writes < 0:
            raise Killed
        return super()._write(name, data, expected)


def test_killed_at_any_write(tmp_path: Path, base: Path) -> None:
    """Wherever it is killed, what serves is whole, every artifact is whole, and the next run ends well."""
    done = prepared(base, tmp_path / "run", 1000)
    first = DyingStore(tmp_path / "counted")
    retrain(done.request, GOOD, first, prepared=done.root, remote=first, commit="abc")
    total = 10**9 - first.writes
    assert total > 15
    for number in range(total):
        store = DyingStore(tmp_path / f"killed-{number}")
        store.writes = number
        with pytest.raises(Killed):
            retrain(done.request, GOOD, store, prepared=done.root, remote=store, commit="abc")
        store.writes = 10**9
        for name in store.list("models/"):
            if name.endswith("manifest.json"):
                manifest = verify_artifact(store, name.split("/")[1])
                assert dvc_remote.contains(store, manifest.provenance.snapshot)
        redelivered = retrain(done.request, GOOD, store, prepared=done.root, remote=store, commit="abc")
        assert redelivered.outcome == "released", redelivered.reason
        assert release.read_current_release(store)[0].number == 1


class RottenStore(FileStore):
    """Changes one byte of the movies' vectors on their way to the disk."""

    def put_new(self, name: str, data: Content) -> Version:
        if name.endswith("item_vectors.npy") and isinstance(data, Path):
            content = bytearray(data.read_bytes())
            content[-1] ^= 1
            return super().put_new(name, bytes(content))
        return super().put_new(name, data)


def test_an_artifact_that_fails_its_checks_is_refused(tmp_path: Path, base: Path) -> None:
    """What came out of the store is not what went in: refused with the file's name, nothing serves."""
    store = RottenStore(tmp_path / "objects")
    result = run(store, base, 1000)
    assert result.outcome == "refused"
    assert "item_vectors.npy differs" in result.reason
    assert list(store.list("releases/")) == []


def test_drifted_data_are_refused(store: ObjectStore, base: Path, tmp_path: Path) -> None:
    """Half of the ratings gone although time went on: the model is kept and refused, with the count."""
    run(store, base, 990)
    lines = (base / "ratings.csv").read_text().splitlines()
    thinned = tmp_path / "thinned"
    thinned.mkdir()
    (thinned / "ratings.csv").write_text("\n".join([lines[0], *lines[1::2], lines[-1]]) + "\n")
    result = run(store, thinned, 1000)
    assert result.outcome == "refused"
    assert "ratings of the snapshot that serves are missing" in result.reason


def test_refusals_are_listed(
    store: ObjectStore,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``marquee release list`` and ``marquee lineage`` show a refused artifact with its reason."""
    run(store, base, 600)
    spoiled = run(store, base, 1000, SPOILED)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (tmp_path / "objects").as_uri())
    assert main(["release", "list"]) == 0
    assert f"refused {spoiled.version}" in capsys.readouterr().out
    assert main(["lineage", str(spoiled.version)]) == 0
    shown = capsys.readouterr().out
    assert "in no release" in shown
    assert spoiled.reason in shown


def test_a_serving_artifact_that_is_gone_stops_nobody(store: ObjectStore, base: Path) -> None:
    """What serves cannot be read any more: there is nothing to compare with, and a model that works is let in."""
    first = run(store, base, 600)
    store.delete(f"models/{first.version}/item_vectors.npy")
    second = run(store, base, 1000)
    assert second.outcome == "released", second.reason
    assert any("cannot serve" in finding for finding in second.findings)


def test_the_baselines_have_a_say(store: ObjectStore, base: Path) -> None:
    """A model is compared with both baselines; worse than either is one objection, no different is none."""
    found = run(store, base, 1000, releasing=False)
    assert {(c.metric, c.against) for c in found.compared} == {
        ("rmse", "bias_only"),
        ("ndcg@10", "popularity"),
    }
    worse = [msgspec.structs.replace(c, verdict=Significance.WORSE) for c in found.compared]
    assert len(release_policy.objections(worse)) == 2
    assert (
        release_policy.objections(
            [msgspec.structs.replace(c, verdict=Significance.EQUAL) for c in found.compared]
        )
        == []
    )
