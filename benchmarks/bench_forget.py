"""Erasure of a hundred users in a system under load: time until no trace is left, and until a clean model serves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.forget_system import ROOT, forget_system, seconds_to_erasure
from benchmarks.registry import BenchmarkResult, at_most, benchmark
from marquee.errors import MarqueeError

USERS, FORGOTTEN, RECORDS = 600, 100, 30_000
TRACE_GOAL_S, MODEL_GOAL_S = 30.0, 600.0


@benchmark("forget_trace_s", "forget_model_s")
def forget() -> Iterable[BenchmarkResult]:
    """Forget 100 of 600 users with 30,000 records, while records and requests arrive continuously.

    ``forget_trace_s`` ends when rows, app data and logs are clean; ``forget_model_s`` when a model without the users
    serves and the old models and snapshots are deleted. Both begin with the request. The default trainer trains.
    `make forget` does the same with 20 kills, and prints its own two times.
    """
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        with forget_system(root, USERS, RECORDS, ROOT / "params.yaml") as system:
            with system.load():
                receipts = system.forget(system.users[:FORGOTTEN], kills=0, seed=1, longest_s=1)
            found = system.search(system.users[:FORGOTTEN])
    if len(receipts) != FORGOTTEN or any(found.values()):
        raise MarqueeError(f"{len(receipts)} of {FORGOTTEN} users have a receipt, and a search found {found}")
    trace_s, model_s = seconds_to_erasure(receipts)
    yield at_most(
        "forget_trace_s",
        trace_s,
        "s",
        TRACE_GOAL_S,
        reference="none; rows, documents and logs of 100 users",
    )
    yield at_most(
        "forget_model_s",
        model_s,
        "s",
        MODEL_GOAL_S,
        reference="none; with the training of the default model",
    )
