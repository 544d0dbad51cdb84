"""Integration test against real servers: synthetic records, the bridge, `ingest`, and a reconciliation.

``python -m infra.integration [--records N]``, with MARQUEE_KAFKA_BOOTSTRAP and MARQUEE_DATABASE_URL (migrated) set. The
exit code is 1 if a record that Kafka acknowledged is not in the tables exactly once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from marquee.bridge.kafka_client import TopicIds
from marquee.cli.argument_types import bounded_int
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, free_port
from marquee.local.reconciliation import reconcile_when_drained
from marquee.simulate.report import SimulationReport

ROOT = Path(__file__).parents[1]


def run(settings: Settings, records: int, work: Path) -> int:
    """Produce records, forward them, reconcile them with the tables, and return the exit code."""
    function, port, topic = read_functions(ROOT)["ingest"], free_port(), f"integration-{uuid.uuid4().hex[:8]}"
    url, report = f"http://127.0.0.1:{port}", work / "report.json"
    in_own_group = (*settings.kafka_options, ("group.id", topic))
    own = replace(settings, kafka_topic=topic, kafka_options=in_own_group, delivery_url=url)
    environment = own.environment(["kafka_bootstrap", "kafka_topic", "kafka_options", "delivery_url", "database_url"])
    options = [
        "--mode",
        "synthetic",
        "--records",
        str(records),
        "--records-per-second",
        "20000",
        "--corrupt",
        "0.001",
    ]
    ingest = function_instance("ingest", function, ROOT, work, port, settings.environment(function.needs))
    bridge = _marquee("bridge", work, environment)
    simulate = _marquee("simulate", work, environment, *options, "--report", str(report))
    processes = [ingest, simulate, bridge]
    try:
        ingest.start()
        ingest.wait_healthy(health_check(url + function.health))
        simulate.start()
        if code := simulate.wait():
            raise SystemExit(f"The simulator ended with code {code}. {simulate.log_end()}")
        bridge.start()
        account = reconcile_when_drained(
            Database(settings.database_url),
            TopicIds(settings).id(topic) or "",
            SimulationReport.read(report).partitions,
            timeout_s=300,
        )
    finally:
        for process in reversed(processes):
            process.stop()
    sys.stdout.write(f"{account.acknowledged} records acknowledged, {account.rows} rows\n")
    return 0 if account.exact and account.acknowledged >= records else 1


def _marquee(verb: str, work: Path, environment: dict[str, str], *words: str) -> Process:
    argv = [sys.executable, "-m", "marquee", verb, *words]
    return Process(verb, argv, work / f"{verb}.log", env=environment, cwd=ROOT)


def main() -> None:
    """Run the test with the settings of the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=bounded_int(1), default=20_000, metavar="N")
    settings = Settings.from_mapping(os.environ).require("kafka_bootstrap", "database_url")
    with tempfile.TemporaryDirectory() as work:
        raise SystemExit(run(settings, parser.parse_args().records, Path(work)))


if __name__ == "__main__":
    main()
