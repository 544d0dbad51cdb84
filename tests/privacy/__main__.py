"""``make forget``: forgets users under load, kills the command at random moments, and searches for traces."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.forget_system import forget_system, seconds_to_erasure
from rich.console import Console

PARAMS = Path(__file__).parents[2] / "params.yaml"


def main() -> int:
    """Return 0 if every user has a valid receipt, a search finds none of them, and all records are accounted for."""
    parser = argparse.ArgumentParser(prog="make forget", description=__doc__)
    parser.add_argument("--users", type=int, default=100, help="users to forget (100)")
    parser.add_argument("--kills", type=int, default=20, help="kills at random moments (20)")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds until a kill, at most (8)")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    with tempfile.TemporaryDirectory(prefix="marquee-forget-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # PostgreSQL may run as another user.
        return 0 if _forget(root, args.users, args.kills, args.longest, seed) else 1


def _forget(root: Path, users: int, kills: int, longest_s: float, seed: int) -> bool:
    console = Console()
    with forget_system(root, 5 * users, 200 * users, PARAMS) as system:
        leaving, staying = system.users[:users], system.users[users:]
        before = system.search(leaving)
        console.print(f"seed {seed}: {users} of {len(system.users)} users are to be forgotten; found before: {before}")
        with system.load():
            receipts = system.forget(leaving, kills, seed, longest_s)
            after = system.search(leaving)
        later = system.search(leaving)
        delivered, accounted = system.count_records()
        removed = sum(sum(receipt.removed.values()) for receipt in receipts)
        console.print(f"{kills} kills, {len(receipts)} valid receipts, {removed} rows and documents removed")
        console.print(f"found after: {after}; after more load: {later}; of those who stay: {system.search(staying)}")
        console.print(f"{delivered} records delivered, {accounted} accounted for, {system.errors} failed requests")
        trace_s, model_s = seconds_to_erasure(receipts)
        console.print(f"longest request: {trace_s:.1f} s to the last trace, {model_s:.1f} s to the clean model")
        clean = not any(after.values()) and not any(later.values())
        complete = len(receipts) == users and all(before.values()) and delivered == accounted and not system.errors
        console.print("every trace is gone" if clean and complete else "NOT complete")
        return clean and complete


if __name__ == "__main__":
    sys.exit(main())
