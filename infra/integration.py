"""From Kafka to the tables with real servers: made lines, the bridge, `ingest`, and an account of each line.

``python -m infra.integration [--lines N]``, with MARQUEE_KAFKA_BOOTSTRAP and MARQUEE_DATABASE_URL (migrated) set. The
exit code is 1 if a line that Kafka acknowledged is not in the tables exactly once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from pathlib import Path

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, free_port
from marquee.local.reconciliation import reconcile_when_drained
from marquee.simulate.report import SimulationReport

ROOT = Path(__file__).parents[1]


def run(settings: Settings, lines: int, work: Path) -> int:
    """Produce ``lines``, forward them, and account for them; returns the exit code."""
    function, port, topic = read_functions(ROOT)["ingest"], free_port(), f"integration-{uuid.uuid4().hex[:8]}"
    url, report = f"http://127.0.0.1:{port}", work / "report.json"
    places = settings.environment(["kafka_bootstrap", "kafka_options", "database_url"])
    environment = {
        **places,
        "MARQUEE_KAFKA_TOPIC": topic,
        "MARQUEE_KAFKA_GROUP": topic,
        "MARQUEE_DELIVERY_URL": url,
    }
    made = [
        "--mode",
        "synthetic",
        "--records",
        str(lines),
        "--records-per-second",
        "20000",
        "--corrupt",
        "0.001",
    ]
    ingest = function_instance(
        "ingest", function, ROOT, work, work, port, settings.environment(function.needs)
    )
    bridge = _marquee("bridge", work, environment)
    simulate = _marquee("simulate", work, environment, *made, "--report", str(report))
    processes = [ingest, simulate, bridge]
    try:
        ingest.start()
        ingest.wait_healthy(health_check(url + function.health))
        simulate.start()
        if code := simulate.wait():
            raise SystemExit(f"The simulator ended with code {code}. {simulate.log_end()}")
        bridge.start()
        account = reconcile_when_drained(
            Database(settings.database_url), topic, SimulationReport.read(report).partitions, timeout_s=300
        )
    finally:
        for process in reversed(processes):
            process.stop()
    sys.stdout.write(f"{account.acknowledged} lines acknowledged, {account.rows} rows\n")
    return 0 if account.exact and account.acknowledged >= lines else 1


def _marquee(verb: str, work: Path, environment: dict[str, str], *words: str) -> Process:
    argv = [sys.executable, "-m", "marquee", verb, *words]
    return Process(verb, argv, work / f"{verb}.log", env=environment, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=20_000, metavar="N")
    settings = Settings.from_mapping(os.environ).require("kafka_bootstrap", "database_url")
    with tempfile.TemporaryDirectory() as work:
        raise SystemExit(run(settings, parser.parse_args().lines, Path(work)))


if __name__ == "__main__":
    main()
