"""Forgetting from end to end: every place is empty, the model never saw the user, and a kill costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.events.json_examples import rating
from tests.privacy.held_data import FORGET, KEEP, KEY, write_held_data
from tests.support.records import batch, rate, rows
from tests.support.synthetic_data import blocks, write_base
from tests.training.runs import GOOD

from marquee.data.snapshot import SnapshotRequest
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import ForgetIncomplete, TrainingDataError
from marquee.events.json_records import JsonRecordParser
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.privacy import forget_journal, learned_models, personal_tables
from marquee.privacy.forget import Forgetting, Places
from marquee.privacy.receipts import public_key, verify_receipt
from marquee.privacy.user_export import export_held
from marquee.registry import release
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import promote
from marquee.training.pipeline import steps
from marquee.training.pipeline.pipeline_run import PipelineRun
from marquee.training.pipeline.step_journal import StepJournal
from marquee.training.retrain import retrain

BASE_USER = "u0-000"
UNTIL = datetime(2100, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The end of the process, as far as the code under test can see it."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return base data that hold the user whom the tests forget."""
    return write_base(tmp_path / "base", blocks(users=12))


def train(store: FileStore, base: Path, database: Database, remote: FileStore | None = None) -> str:
    request = SnapshotRequest(UNTIL, base, 0.9, 5.0)
    result = retrain(request, GOOD, store, database, remote=remote, force=True, privacy_key=KEY, commit="abc")
    if result.outcome == "refused" and result.version:
        promote(store, result.version, author="test")
    return f"{result.outcome}: {result.reason}"


def places(store: FileStore, base: Path, database: Database, remote: FileStore, logs: Path) -> Places:
    logs.mkdir(exist_ok=True)
    return Places(
        database=database,
        store=store,
        remote=remote,
        logs=(logs,),
        retrain=lambda: train(store, base, database, remote),
    )


def count_traces(where: Places, user: str) -> dict[str, int]:
    """Search every place for a user."""
    remote = where.remote
    assert remote is not None
    snapshots = learned_models.list_snapshots(remote)
    return {
        "rows": sum(personal_tables.count_rows(where.database, [user]).values()),
        "journal": len(rows(where.database, "SELECT FROM forget_requests WHERE user_id IS NOT NULL")),
        "models": len(learned_models.find_learned(where.store, [user])),
        "snapshots": sum(learned_models.snapshot_holds_any(remote, digest, [user]) for digest in snapshots),
        "logs": sum(f"user {user} " in path.read_text() for logs in where.logs for path in logs.iterdir()),
    }


def test_forget_removes_every_trace_and_serves_a_model_that_never_saw_the_user(
    plain_database: Database, parser: EventParser, store: FileStore, remote: FileStore, base: Path, tmp_path: Path
) -> None:
    """Rows, models, snapshots and logs are clean; the model equals, bit for bit, that of data without the user."""
    write_held_data(plain_database, parser)
    ratings = [rating(f"e{i}", BASE_USER, 5, movie_id=f"b0+000{i}") for i in range(4)]
    write_batch(plain_database, batch(ratings, partition=1), JsonRecordParser())
    train(store, base, plain_database, remote)
    (old,) = learned_models.list_versions(store)
    where = places(store, base, plain_database, remote, tmp_path / "logs")
    (tmp_path / "logs" / "recommend.log").write_text(f"scoring failed for user {BASE_USER} with v\n")
    assert all(n for name, n in count_traces(where, BASE_USER).items() if name != "journal")
    exported = export_held(plain_database, store, KEY, BASE_USER, remote=remote, base=base)
    assert len(exported["tables"]["ratings"]) == len(ratings)
    assert set(exported["models"][old]["movies"]) >= {f"b0+000{i}" for i in range(4)}
    assert (len(exported["snapshots"]), exported["marks"]) == (1, {})
    assert len(exported["base_data"]) > 4

    forget_journal.open_requests(plain_database, KEY, [BASE_USER, FORGET])
    receipts = Forgetting(where, KEY).run()

    for user in (BASE_USER, FORGET):
        assert not any(count_traces(where, user).values())
    assert personal_tables.count_rows(plain_database, [KEEP])
    (new,) = learned_models.list_versions(store)
    assert {arm.version for arm in release.read_current_release(store)[0].arms} == {new} != {old}
    found = [verify_receipt(text, public_key(KEY)) for text in receipts]
    assert {receipt.removed.get("ratings") for receipt in found} == {len(ratings), 1}
    assert all(receipt.deleted == (old,) and receipt.serving == (new,) for receipt in found)

    never = tmp_path / "never"
    write_base(never, blocks(users=12).query("user_id != @BASE_USER"))
    clean = FileStore(tmp_path / "clean")
    train(clean, never, plain_database)
    assert learned_models.list_versions(clean) == [new]
    assert read_manifest(clean, new).files == read_manifest(store, new).files


@pytest.mark.parametrize("step", ["documents", "rows", "logs", "models", "snapshots", "swept"])
@pytest.mark.parametrize("done", [False, True])
def test_forget_killed_in_any_step_ends_complete(
    plain_database: Database,
    parser: EventParser,
    store: FileStore,
    remote: FileStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    done: bool,
) -> None:
    """The next run goes on and finishes, whether the step was done or only begun; nothing is counted twice."""
    write_held_data(plain_database, parser)
    where = places(store, tmp_path, plain_database, remote, tmp_path / "logs")
    forget_journal.open_requests(plain_database, KEY, [FORGET])
    end_step = forget_journal.end_step

    def end_and_die(database: Database, requests: list[forget_journal.ForgetRequest], name: str) -> None:
        if name == step and not done:
            raise Killed
        end_step(database, requests, name)
        if name == step:
            raise Killed

    monkeypatch.setattr(forget_journal, "end_step", end_and_die)
    with pytest.raises(Killed):
        Forgetting(where, KEY).run()
    monkeypatch.setattr(forget_journal, "end_step", end_step)
    (receipt,) = Forgetting(where, KEY).run()
    assert verify_receipt(receipt, public_key(KEY)).removed["watches"] == 1
    assert not any(count_traces(where, FORGET).values())
    assert Forgetting(where, KEY).run() == []
    request = forget_journal.find_request(plain_database, KEY, FORGET)
    assert request is not None
    assert (request.receipt, request.user_id) == (receipt, None)


def test_forget_keeps_artifacts_while_one_serves_that_learned_from_the_user(
    plain_database: Database, store: FileStore, remote: FileStore, base: Path, tmp_path: Path
) -> None:
    """Without a new release nothing is deleted that serves, and the error says why; a later run goes on."""
    train(store, base, plain_database, remote)
    before = sorted(store.list("models/"))
    where = places(store, base, plain_database, remote, tmp_path / "logs")
    stuck = Places(database=plain_database, store=store, remote=remote, retrain=lambda: "held: an experiment runs")
    forget_journal.open_requests(plain_database, KEY, [BASE_USER])
    with pytest.raises(ForgetIncomplete, match="an experiment runs"):
        Forgetting(stuck, KEY).run()
    assert sorted(store.list("models/")) == before
    assert len(Forgetting(where, KEY).run()) == 1
    assert not any(count_traces(where, BASE_USER).values())


def test_forget_waits_for_instances_before_it_deletes(
    plain_database: Database, store: FileStore, remote: FileStore, base: Path, tmp_path: Path
) -> None:
    """The old artifact stays for the grace period, in which an instance may still read it."""
    train(store, base, plain_database, remote)
    (old,) = learned_models.list_versions(store)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert old in learned_models.list_versions(store)

    forget_journal.open_requests(plain_database, KEY, [BASE_USER])
    where = places(store, base, plain_database, remote, tmp_path / "logs")
    where = Places(database=plain_database, store=store, remote=remote, retrain=where.retrain, grace_s=1_000.0)
    Forgetting(where, KEY, wait).run()
    assert 900 < waited[0] <= 1_000
    assert old not in learned_models.list_versions(store)


def test_retrain_user_marked_meanwhile_fails(
    plain_database: Database, store: FileStore, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of a snapshot from before the mark is never stored."""
    run_all: Callable[[PipelineRun, str], StepJournal] = steps.run_all

    def mark_after(run: PipelineRun, code: str) -> StepJournal:
        journal = run_all(run, code)
        forget_journal.open_requests(plain_database, KEY, [BASE_USER])
        return journal

    monkeypatch.setattr(steps, "run_all", mark_after)
    with pytest.raises(TrainingDataError, match="train again"):
        train(store, base, plain_database)
    assert list(store.list("models/")) == []


def test_open_requests_finished_request_starts_again(plain_database: Database, parser: EventParser) -> None:
    """A finished request that is repeated gets a new receipt, and the mark stays."""
    forget_journal.open_requests(plain_database, KEY, [FORGET])
    (request,) = forget_journal.list_open(plain_database)
    forget_journal.finish(plain_database, request, "{}", datetime.now(UTC))
    assert forget_journal.list_open(plain_database) == []
    forget_journal.open_requests(plain_database, KEY, [FORGET])
    (again,) = forget_journal.list_open(plain_database)
    assert (again.user_id, again.done, again.receipt) == (FORGET, {}, None)
    write_batch(plain_database, batch([rate(42, 5)]), parser, MarkReader(KEY))
    assert rows(plain_database, "SELECT count(*) FROM ratings") == [(0,)]
