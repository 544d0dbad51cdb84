"""``make chaos``: kills the parts between Kafka and the tables repeatedly, and compares the records."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.system import ChaosSystem
from tests.chaos.verification import Verification

# Each round starts with new processes, new data and a seed of its own.
KILLS_PER_ROUND = 50


def main() -> int:
    """Return 0 if every record was stored exactly once in every round, otherwise 1."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="seed of the first round; later rounds add 1 each")
    parser.add_argument("--outage", type=float, default=None, help="seconds of one database outage in the first round")
    args = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    outage_s = args.outage if args.outage is not None else (60.0 if args.kills >= 100 else 5.0)
    console = Console()
    rounds = [min(KILLS_PER_ROUND, args.kills - done) for done in range(0, args.kills, KILLS_PER_ROUND)]
    exact = [_run_round(console, first + n, kills, outage_s if n == 0 else 5.0) for n, kills in enumerate(rounds)]
    verdict = "every record exactly once" if all(exact) else "NOT every record exactly once"
    console.print(f"seeds {first}..{first + len(rounds) - 1}, kills {args.kills}: {verdict}")
    return 0 if all(exact) else 1


def _run_round(console: Console, seed: int, kills: int, outage_s: float) -> bool:
    columns = (TextColumn(f"seed {seed}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
    with tempfile.TemporaryDirectory(prefix="marquee-chaos-", ignore_cleanup_errors=True) as directory:
        # PostgreSQL may run as another user, who needs access to its directory.
        Path(directory).chmod(0o755)
        with ChaosSystem(Path(directory), seed) as system, progress:
            task = progress.add_task("", total=kills)
            injector = FaultInjector(system, seed, outage_s)
            injector.inject(
                kills, lambda fault: progress.update(task, completed=injector.counts.total, description=fault)
            )
            progress.update(task, description="waiting for the last records ...")
            result = system.settle()
            _report(console, seed, injector, result)
            if system.group_repairs:
                console.print(
                    f"  the embedded broker's group lost its leader {system.group_repairs} times, and was repaired"
                )
            if not result.exact:
                _save_logs(console, system, seed)
    return result.exact


def _report(console: Console, seed: int, injector: FaultInjector, result: Verification) -> None:
    kills = ", ".join(f"{name} {count}" for name, count in sorted(injector.counts.kills.items()))
    other = ", ".join(f"{name} {count}" for name, count in sorted(injector.counts.other.items()))
    console.print(f"seed {seed}: kills {injector.counts.total} ({kills}); other faults: {other}")
    console.print(f"  {result}", style="green" if result.exact else "bold red")
    for example in result.examples:
        console.print(f"    {example}")


def _save_logs(console: Console, system: ChaosSystem, seed: int) -> None:
    directory = Path("build") / f"chaos-{seed}"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in system.logs().items():
        (directory / f"{name}.log").write_text(text)
    console.print(f"  the logs are in {directory}")


if __name__ == "__main__":
    sys.exit(main())
