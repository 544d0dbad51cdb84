"""The whole system as processes, under load and with failures.

A live stream with corrupted records; meanwhile a scheduled retraining, a rollback, and four killed parts. At the
end every record is in the tables or in quarantine, and no request has failed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.local.programs import has_ended
from tests.support.waiting import wait_until

from marquee.bridge.kafka_client import TopicIds
from marquee.config.settings import Settings
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.local.reconciliation import reconcile, reconcile_when_drained
from marquee.local.staged_canary import stage_bad_canary
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.registry.gate_report import load_reports
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, iter_releases, read_current_release
from marquee.simulate.report import SimulationReport

ROOT = Path(__file__).parents[2]
TOPIC = "movielog"
# Killed while records arrive.
KILLED = ("bridge", "ingest", "postgres")

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]


class RunningSystem:
    """`marquee local up` in a state directory of its own, and other commands of `marquee` on it."""

    def __init__(self, state_dir: StateDir) -> None:
        self.staged: Release | None = None
        self.simulator: subprocess.Popen[bytes] | None = None
        self.state_dir = state_dir
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MARQUEE_")}
        self.runner = self.marquee("local", "--state-dir", str(state_dir.directory), "up")
        try:
            wait_until(lambda: self.runner.poll() is not None or self._is_ready(), timeout_s=400)
        except AssertionError:
            self.runner.terminate()
            self.runner.wait(60)
            raise
        assert self.runner.poll() is None, self.log("retrain") + self.log("recommend")
        self.environment |= self.state.environment
        self.database = Database(self.environment["MARQUEE_DATABASE_URL"])

    def marquee(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "marquee", *arguments], env=self.environment, cwd=ROOT)

    def run(self, *arguments: str) -> None:
        assert self.marquee(*arguments).wait(180) == 0, arguments

    @property
    def state(self) -> SystemState:
        state = self.state_dir.read_state()
        assert state is not None
        return state

    @property
    def topic_id(self) -> str:
        return TopicIds(Settings.from_mapping(self.state.environment)).id(TOPIC) or ""

    def part(self, name: str) -> PartState:
        return next(part for part in self.state.parts if part.name == name)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.part('recommend').port}{path}"

    def version(self, user_id: str = "1") -> str:
        """Return the model version that serves at present."""
        request = urllib.request.Request(self.url(f"/recommend/{user_id}"), headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(json.load(response)["model_version"])

    @property
    def store(self) -> ObjectStore:
        return connect(self.state.environment["MARQUEE_OBJECTS_URL"])

    def arm_versions(self) -> set[str]:
        """Return the versions of the arms that an instance serves."""
        with urllib.request.urlopen(self.url("/version"), timeout=10) as response:
            return {str(arm["version"]) for arm in json.load(response)["arms"]}

    def served_versions(self) -> list[str]:
        """Return the versions that served impressions."""
        rows = self.database.read("SELECT DISTINCT model_version FROM impressions", deadline_ms=5_000)
        return [str(version) for (version,) in rows]

    def kill(self, name: str) -> None:
        """Kill one part with SIGKILL; return when it has restarted."""
        before = self.part(name)
        for pid in before.pids:
            os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: self.part(name).restarts > before.restarts and bool(self.part(name).pids), 60)

    def log(self, part: str) -> str:
        log = self.state_dir.logs / f"{part}.log"
        return log.read_text(errors="replace")[-4_000:] if log.exists() else ""

    def _is_ready(self) -> bool:
        state = self.state_dir.read_state()
        return state is not None and state.ready

    def stop(self) -> None:
        if self.simulator and self.simulator.poll() is None:
            self.simulator.kill()
            self.simulator.wait()
        family = psutil.Process(self.runner.pid).children(recursive=True) if self.runner.poll() is None else []
        self.database.close()
        self.run("local", "--state-dir", str(self.state_dir.directory), "down")
        assert self.runner.wait(60) == 0
        wait_until(lambda: all(has_ended(p) for p in family))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    running = RunningSystem(StateDir(tmp_path_factory.mktemp("system") / ".local"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def report(system: RunningSystem) -> SimulationReport:
    """Run the simulator for about forty seconds with failures; return its report."""
    path = system.state_dir.runs / "simulate.json"
    try:
        simulate_with_failures(system, path)
    except BaseException as error:
        for name in ("kafka", "bridge", "ingest", "recommend", "retrain"):
            error.add_note(f"--- the end of the log of {name}\n{system.log(name)}")
        error.add_note(f"--- the report of the simulator\n{path.read_text() if path.exists() else 'none'}")
        raise
    return SimulationReport.read(path)


def simulate_with_failures(system: RunningSystem, path: Path) -> None:
    first = system.version()
    # Before the first record: a broker in memory loses what it holds. tests/chaos kills a durable one during writes,
    # and compares with the records that Kafka holds.
    system.kill("kafka")
    simulator = system.simulator = system.marquee(
        "simulate", "--url", system.url("").rstrip("/"), "--report", str(path), "--records-per-second", "1000",
        "--requests-per-second", "20", "--corrupt", "0.01", "--keep-running",
    )  # fmt: skip
    # The scheduled retraining, whose model serves a part of the users first. The gate may refuse the first of them,
    # which has few live ratings to be judged by.
    wait_until(lambda: len(system.served_versions()) == 2, 240)
    system.run("release", "rollback", "--reason", "test of the rollback")
    wait_until(lambda: system.arm_versions() == {first}, 30)
    system.staged = stage_bad_canary(system.store)
    wait_until(lambda: read_current_release(system.store)[0].author == "monitor", 120)
    wait_until(lambda: system.arm_versions() == {first}, 30)
    for part in KILLED:
        system.kill(part)
    wait_until(lambda: SimulationReport.read(path).acknowledged > 20_000, 60)
    simulator.send_signal(signal.SIGTERM)
    assert simulator.wait(60) == 0


def test_system_after_failures_has_every_record_once(system: RunningSystem, report: SimulationReport) -> None:
    """Tables and quarantine together have each acknowledged offset once."""
    result = reconcile_when_drained(system.database, system.topic_id, report.partitions)
    assert result.acknowledged == report.acknowledged >= 20_000
    assert [(p.rows, p.offsets) for p in result.partitions.values()] == [
        (span.records, (span.last or 0) - (span.first or 0) + 1) for span in report.partitions.values()
    ]
    assert result.exact
    assert reconcile(system.database, system.topic_id, report.partitions) == result


def test_system_malformed_records_are_in_quarantine(system: RunningSystem, report: SimulationReport) -> None:
    """Quarantine has the malformed records by category, the tables have all others."""
    reconcile_when_drained(system.database, system.topic_id, report.partitions)
    counts = record_counts.count_records(system.database)
    assert dict(counts.quarantine_by_category) == report.malformed
    assert counts.records == report.acknowledged
    assert report.acknowledged - sum(report.malformed.values()) == counts.records - counts.quarantined
    assert sum(report.malformed.values()) > 50
    assert counts.rejected_events == 0


def test_system_during_release_changes_answers_every_request(system: RunningSystem, report: SimulationReport) -> None:
    """The event log has status 200 only, while a model was trained, released and rolled back."""
    reconcile_when_drained(system.database, system.topic_id, report.partitions)
    assert set(report.requests) == {"200"}
    assert report.invalid_responses == 0
    logged = system.database.read(
        "SELECT status, count(*) FROM recommendation_requests GROUP BY status", deadline_ms=5_000
    )
    assert [status for status, _ in logged] == [200]


def test_system_rollback_serves_two_versions(system: RunningSystem, report: SimulationReport) -> None:
    """The first version, the retrained one, and the first again served impressions; perhaps the bad one did, too."""
    reconcile_when_drained(system.database, system.topic_id, report.partitions)
    assert system.staged is not None
    assert len({*system.served_versions()} - {system.staged.arms[1].version}) == 2
    retrained = system.database.read("SELECT outcome FROM retrain_runs ORDER BY started", deadline_ms=5_000)
    assert [outcome for (outcome,) in retrained][:2] == ["released", "released"]


def test_system_bad_canary_is_rolled_back_by_the_monitor(system: RunningSystem, report: SimulationReport) -> None:
    """A model with shuffled item vectors: one release with the evidence ends it, and a report marks the version."""
    staged = system.staged
    assert staged is not None
    ended = next(release for release in iter_releases(system.store) if release.number == staged.number + 1)
    assert (ended.author, ended.arms[0].version) == ("monitor", staged.arms[0].version)
    assert "canary harms" in ended.evidence
    (marked,) = load_reports(system.store, staged.arms[1].version)
    assert marked.outcome == "refused"
    decided = "SELECT action, alert FROM experiment_decisions WHERE experiment = %s ORDER BY time DESC LIMIT 1"
    assert system.database.read(decided, (staged.experiment,), deadline_ms=5_000) == [("back", "harmed")]


def test_system_monitor_evaluates_ratings_and_requests(system: RunningSystem, report: SimulationReport) -> None:
    """The scheduled monitor has a prediction, or the reason for none, for each rating older than a minute, and counts
    every logged request."""
    reconcile_when_drained(system.database, system.topic_id, report.partitions)
    evaluated = "SELECT coalesce(sum(requests), 0), coalesce(sum(answered + late), 0) FROM availability"
    logged = "SELECT count(*) FROM recommendation_requests"

    def all_requests_counted() -> bool:
        (counted, _), (total,) = (system.database.read(query, deadline_ms=5_000)[0] for query in (evaluated, logged))
        return bool(counted == total > 0)

    wait_until(all_requests_counted, 60)
    ((requests, answered),) = system.database.read(evaluated, deadline_ms=5_000)
    assert requests == answered
    rated = """SELECT count(*), count(p.topic_key), count(predicted) FROM ratings
        LEFT JOIN predictions AS p USING (topic_key, partition, "offset") WHERE p.topic_key IS NOT NULL
        OR ratings.time < (SELECT max(time) FROM monitor_runs) - INTERVAL '1 minute'"""
    ((ratings, evaluated_ratings, predicted),) = system.database.read(rated, deadline_ms=5_000)
    assert ratings == evaluated_ratings > 0
    assert predicted > 0
    failed = "SELECT task, error FROM monitor_runs WHERE error <> '' AND time > now() - INTERVAL '20 seconds'"
    assert system.database.read(failed, deadline_ms=5_000) == []


def test_system_killed_parts_restarted_once(system: RunningSystem, report: SimulationReport) -> None:
    """Each killed part restarted once, all others never."""
    restarts = {part.name: part.restarts for part in system.state.parts if part.restarts}
    assert restarts == dict.fromkeys(("kafka", *KILLED), 1)


def test_system_every_list_can_be_made_again(system: RunningSystem, report: SimulationReport) -> None:
    """Byte for byte, through a retraining, a canary, a rollback and killed parts; without the events of the users."""
    reconcile_when_drained(system.database, system.topic_id, report.partitions)
    command = [sys.executable, "-m", "marquee", "replay", "--last", "100000", "--json"]
    made = json.loads(subprocess.run(command, env=system.environment, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    assert made["lists"] > 500
    # The number of BLAS threads of another process may change the last bits of a score.
    assert set(made["differences"]) <= {"scores differ in the last bits"}
    assert made["equal"] == made["lists"]
    assert {"personalised", "folded-in"} <= set(made["equal_by_tier"])


def test_system_parts_connect_with_their_own_logins(system: RunningSystem, report: SimulationReport) -> None:
    """No part that answers requests or writes records has the rights of the tables' owner."""
    connected = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
    expected = {f"marquee_{part}_login" for part in ("ingest", "recommend", "monitor", "grafana")}

    def all_connected() -> bool:
        system.version()  # It connects again after the server was killed.
        return expected <= {str(name) for (name,) in system.database.read(connected, deadline_ms=5_000)}

    wait_until(all_connected, 60)
    retrained = system.database.read("SELECT count(*) FROM retrain_runs WHERE outcome = 'released'", deadline_ms=5_000)
    assert retrained[0][0] >= 2
