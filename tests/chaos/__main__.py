"""``make chaos``: kill the parts of the way from Kafka to the tables, again and again, and count the lines."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.chaos.account import Account
from tests.chaos.monkey import Monkey
from tests.chaos.system import ChaosSystem

# So many kills a round: each round begins with new processes, new data and a seed of its own.
ROUND = 50


def main() -> int:
    """Returns 0 if every line was there once after every round, else 1."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next ones count on")
    parser.add_argument("--away", type=float, default=None, help="s that the database is away, once a round")
    args = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    away_s = args.away if args.away is not None else (60.0 if args.kills >= 100 else 5.0)
    console = Console()
    rounds = [min(ROUND, args.kills - done) for done in range(0, args.kills, ROUND)]
    exact = [_round(console, first + n, kills, away_s if n == 0 else 5.0) for n, kills in enumerate(rounds)]
    words = "every line exactly once" if all(exact) else "NOT every line exactly once"
    console.print(f"seeds {first}..{first + len(rounds) - 1}, kills {args.kills}: {words}")
    return 0 if all(exact) else 1


def _round(console: Console, seed: int, kills: int, away_s: float) -> bool:
    columns = (TextColumn(f"seed {seed}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
    with tempfile.TemporaryDirectory(prefix="marquee-chaos-", ignore_cleanup_errors=True) as directory:
        # PostgreSQL may run as another user, who has to be able to reach its folder.
        Path(directory).chmod(0o755)
        with ChaosSystem(Path(directory), seed) as system, progress:
            task = progress.add_task("", total=kills)
            monkey = Monkey(system, seed, away_s)
            monkey.rage(
                kills, lambda what: progress.update(task, completed=monkey.tally.total, description=what)
            )
            progress.update(task, description="waiting for the last lines ...")
            found = system.settle()
            _report(console, seed, monkey, found)
            if system.mended:
                console.print(
                    f"  the embedded broker's group had no leader {system.mended} times, and was mended"
                )
            if not found.exact:
                _keep_logs(console, system, seed)
    return found.exact


def _report(console: Console, seed: int, monkey: Monkey, found: Account) -> None:
    kills = ", ".join(f"{what} {times}" for what, times in sorted(monkey.tally.kills.items()))
    other = ", ".join(f"{what} {times}" for what, times in sorted(monkey.tally.other.items()))
    console.print(f"seed {seed}: kills {monkey.tally.total} ({kills}); besides: {other}")
    console.print(f"  {found}", style="green" if found.exact else "bold red")
    for example in found.examples:
        console.print(f"    {example}")


def _keep_logs(console: Console, system: ChaosSystem, seed: int) -> None:
    kept = Path("build") / f"chaos-{seed}"
    kept.mkdir(parents=True, exist_ok=True)
    for name, text in system.logs().items():
        (kept / f"{name}.log").write_text(text)
    console.print(f"  the logs are in {kept}")


if __name__ == "__main__":
    sys.exit(main())
