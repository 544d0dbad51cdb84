"""Tests of the ``marquee experiment`` command, on a database and an object store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.monitoring.experiment_stream import (
    ExperimentStream,
    backdate,
    declare,
    list_users,
    make_controller,
    start_canary,
)
from tests.serving.models import make_movie_id, release_model, store_model, two_group_model
from tests.support.commands import Call, call_on
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.experiments.lifecycle import read_declaration
from marquee.registry.gate_report import load_reports
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import read_current_release
from marquee.serving.recommender import Recommender

pytestmark = pytest.mark.servers
AA = "kind: aa\nladder: [0.1, 0.5]\nends: {after_days: 2}\n"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def call(
    store: FileStore,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Return a function that runs ``marquee WORDS`` and returns its output."""
    monkeypatch.chdir(tmp_path)
    return call_on(store, database_url, monkeypatch, capsys)


@pytest.fixture
def serving(store: FileStore) -> str:
    """Release a model an hour ago; return its version."""
    version = release_model(store, through=datetime.now(UTC) - timedelta(days=9))
    backdate(store, datetime.now(UTC) - timedelta(hours=1))
    return version


def test_experiment_runs_from_start_to_end(call: Call, store: FileStore, serving: str, tmp_path: Path) -> None:
    """An A/A test has one version in both arms; it is put on hold, goes on and ends, each by one release."""
    file = tmp_path / "same.yaml"
    file.write_text(AA)
    assert "no experiment runs" in call("experiment", "status")
    assert "experiment same: release 2 serves control 0.1" in call("experiment", "start", str(file), "--author", "ann")
    started = read_current_release(store)[0]
    assert {arm.version for arm in started.arms} == {serving}
    assert (started.experiment, started.enrolled, started.author) == ("same", 0.2, "ann")
    declaration = read_declaration(store, "same")
    assert declaration
    assert set(declaration.guardrails) == {"answered", "watched"}  # A model does not differ from itself.
    assert "on hold" in call("experiment", "hold")
    assert "on hold" in call("experiment", "status", "same")
    assert "on hold" not in call("experiment", "resume", "same")
    assert "due now: hold: blind" in call("experiment", "status")
    assert "no arm 'treatment'" in call("experiment", "end", "--keep", "treatment", code=1)
    assert f"release 5 serves {serving}" in call("experiment", "end", "same", "--keep", "control")
    assert "experiment same has ended" in call("experiment", "status", "same")
    assert "does not run" in call("experiment", "hold", "same", code=1)
    assert "exists already" in call("experiment", "start", str(file), code=1)


def test_experiment_start_refuses_what_cannot_run(call: Call, store: FileStore, serving: str, tmp_path: Path) -> None:
    """A missing file, a wrong field, a canary without a version, a recipe, and a second experiment."""
    file = tmp_path / "trial.yaml"
    assert "cannot be read" in call("experiment", "start", str(file), code=1)
    for text, message in (
        ("kind: bandit\n", "kind must be one of"),
        ("kind: canary\n", "needs the version"),
        ("kind: [\n", "is not YAML"),
        ("kind: aa\nguardrails: {rates: 2 %}\n", "that is not paired"),
        ("kind: experiment\narms: {control: '', trend: trend.params.yaml}\n", "policy: FILE, recipe: FILE"),
        ("kind: experiment\narms: {control: '', trend: {versions: a}}\n", "unknown fields versions"),
        ("kind: experiment\narms: {control: '', rules: {policy: {unavailable: 3}}}\n", "arms.rules.policy: Expected"),
        ("kind: experiment\narms: {control: '', rules: {policy: none.json}}\n", "none.json cannot be read"),
        ("kind: interleaving\narms: {control: '', trend: v}\nguardrails: {watched: 3 %}\n", "get the same lists"),
        ("kind: experiment\narms: {a: '', b: v}\nprimary: {metric: preferred, effect: .1}\n", "interleaving alone"),
        (f"kind: experiment\narms: {{control: '', other: {serving}}}\n", "differ"),
    ):
        file.write_text(text)
        assert message in call("experiment", "start", str(file), code=1)
    assert list(store.list("experiments/")) == []
    file.write_text(AA)
    call("experiment", "start", str(file))
    (tmp_path / "second.yaml").write_text(AA)
    assert "runs an experiment, trial: end it first" in call("experiment", "start", "second.yaml", code=1)


def test_experiment_of_kind_interleaving_runs_from_plan_to_end(
    call: Call, store: FileStore, serving: str, tmp_path: Path
) -> None:
    """Plan, start, status and end; the release says that lists are interleaved, and control serves afterwards."""
    new = store_model(store, two_group_model(mean=3.5), datetime.now(UTC) - timedelta(days=1))
    file = tmp_path / "draft.yaml"
    file.write_text(f"kind: interleaving\narms: {{control: '', new: {new}}}\nladder: [0.1]\n")
    assert "preferred" in call("experiment", "plan", str(file))
    assert f"control 0.1 {serving}, new 0.1 {new}" in call("experiment", "start", str(file))
    assert "lists are interleaved" in call("release", "show")
    shown = call("experiment", "status")
    assert "interleaving, data through" in shown
    assert "primary preferred 0: open" in shown
    assert "secondary" not in shown
    assert f"serves {serving}" in call("experiment", "end", "--keep", "control")
    assert read_current_release(store)[0].interleaved is False


def test_experiment_of_policies_runs_from_plan_to_end(
    call: Call, store: FileStore, serving: str, tmp_path: Path, postgres_database: Database
) -> None:
    """Two policies of one model: their numbers are in impressions, the harmful one goes, and the model stays good."""
    file, hidden = tmp_path / "fewer.yaml", make_movie_id(0)
    (tmp_path / "rules.json").write_text(json.dumps({"unavailable": [hidden]}))
    file.write_text("kind: experiment\narms: {control: '', rules: {policy: rules.json}}\nladder: [0.5]\n")
    assert "minutes" in call("experiment", "plan", str(file))
    call("experiment", "start", str(file))
    release = read_current_release(store)[0]
    assert [(arm.version, arm.policy.number) for arm in release.arms] == [(serving, 0), (serving, 2)]
    assert f"rules 0.5 {serving} with policy 2" in call("release", "list")
    declaration = read_declaration(store, "fewer")
    assert declaration
    assert set(declaration.guardrails) == {"answered", "watched"}  # A model does not differ from itself.
    backdate(store, datetime.now(UTC) - timedelta(hours=1))
    recommender = Recommender.load(store.root.as_uri())
    now, stream = datetime.now(UTC), ExperimentStream(postgres_database)
    for number, user in enumerate(list_users(release, "rules", 14) + list_users(release, "control", 14)):
        shown = recommender.answer(user, now).impression()
        assert (shown.arm, shown.policy) == (("rules", 2) if number < 14 else ("control", 0))
        assert shown.policy == 0 or hidden not in [movie.movie_id for movie in shown.movies]
        stream.ask(now - timedelta(minutes=5), user, status=503 if shown.policy else 200)
    stream.ask(now - timedelta(seconds=20), "someone")
    assert "due now: back: rules harms" in _status_after_update(call, store, postgres_database)
    make_controller(store).run(postgres_database, store, now)
    back = read_current_release(store)[0]
    assert [(arm.version, arm.policy.number) for arm in back.arms] == [(serving, 0)]
    verdicts = dict(rows(postgres_database, "SELECT metric, verdict FROM experiment_looks"))
    judged, secondary = ("answered", "watched", "minutes"), ("late", "asks", "all_minutes")
    assert verdicts == dict.fromkeys(judged, "open") | dict.fromkeys(secondary, "undecided")
    assert load_reports(store, serving) == []  # The policy was at fault, not the model.
    (tmp_path / "again.yaml").write_text(file.read_text())
    call("experiment", "start", "again.yaml")
    call("experiment", "end", "--keep", "rules")
    assert [arm.policy.number for arm in read_current_release(store)[0].arms] == [back.number + 1]


def _status_after_update(call: Call, store: FileStore, database: Database) -> str:
    make_controller(store).assess(database, store, datetime.now(UTC))
    return call("experiment", "status", code=3)


def test_release_canary_starts_the_declaration(call: Call, store: FileStore, serving: str) -> None:
    """Without a file the defaults hold; the experiment is named after the version, and its declaration is stored."""
    new = store_model(store, two_group_model(mean=3.5), datetime.now(UTC) - timedelta(days=1))
    printed = call("release", "canary", new)
    assert f"control 0.02 {serving}, canary 0.02 {new}, outside 0.96 {serving}" in printed
    name = f"canary-{new.lower()}"
    release = read_current_release(store)[0]
    declaration = read_declaration(store, name)
    assert declaration
    assert (release.experiment, declaration.arms) == (name, {"control": serving, "canary": new})
    assert declaration.schedule.after_min == 720
    call("experiment", "end", "--keep", "control")
    call("release", "canary", new)
    assert read_current_release(store)[0].experiment == f"{name}-2"


def test_experiment_status_of_a_harmful_arm_exits_with_3(
    call: Call, store: FileStore, postgres_database: Database
) -> None:
    """The numbers of the look, the decision that is due, and a document for programs; nothing is changed."""
    start_canary(store, declare(), age=timedelta(hours=1), mean=1.5)
    stream, now = ExperimentStream(postgres_database), datetime.now(UTC)
    for number in range(60):
        stream.rate(now - timedelta(minutes=20 + number % 30), str(50_000 + number), number % 50, 3 + number % 2)
    stream.ask(now - timedelta(seconds=20), "50000")
    make_controller(store).assess(postgres_database, store, now)
    before = read_current_release(store)[0]
    shown = call("experiment", "status", code=3)
    for text in ("mean e-value of harm", "rates ", "margin", "due now: back: canary harms", "alert: harmed"):
        assert text in shown
    document = json.loads(call("experiment", "status", "--json", code=3))
    assert (document["kind"], document["decision"]["action"]) == ("canary", "back")
    assert document["look"]["sums"]["rates"]["canary"][0] == 60
    assert read_current_release(store)[0] == before


def test_experiment_plan_tells_what_the_past_tells(
    call: Call, postgres_database: Database, serving: str, tmp_path: Path
) -> None:
    """Days until a harm of each margin is excluded, and an A/A test of the metric; little data yield no estimate."""
    file = tmp_path / "canary.yaml"
    file.write_text("kind: canary\nguardrails: {answered: 0.005, rates: 2 %, watched: 20 %}\n")
    assert "too little data" in call("experiment", "plan", str(file))
    stream, now = ExperimentStream(postgres_database), datetime.now(UTC)
    for user in range(120):
        stream.ask(now - timedelta(hours=3 + user % 50), str(user), (1, 2))
        if user % 3:
            stream.watch(now - timedelta(hours=3 + user % 50) + timedelta(minutes=5), str(user), 1 + user % 2)
    plan = json.loads(call("experiment", "plan", str(file), "--json"))
    metrics = {metric["metric"]: metric for metric in plan["metrics"]}
    assert plan["users"] == 120
    assert metrics["watched"]["value"] == pytest.approx(2 / 3)
    assert metrics["watched"]["size"] == pytest.approx(0.2 * 2 / 3)
    assert 0 < metrics["watched"]["days"] < 1_000
    assert 0.005 < metrics["watched"]["beyond"] < 0.12
    assert metrics["rates"]["days"] is None
    assert "excludes a harm" in call("experiment", "plan", str(file))
