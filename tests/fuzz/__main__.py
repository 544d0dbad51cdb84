"""``make fuzz``: ten million mutated lines through the parser, 100,000 malformed envelopes through ``ingest``."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from tests.fuzz.targets import BATCH, function, read_lines, send_requests

from marquee.db.migrate import migrate
from marquee.local.embedded_postgres import EmbeddedPostgres

AT_A_TIME = 500


def main() -> int:
    """Returns 0; what goes wrong is raised, with its seed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--envelopes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    console = Console()
    console.print(f"seed {seed}")
    with Progress(console=console) as progress:
        task, malformed = progress.add_task("lines", total=args.lines), 0
        seeds = range(seed, seed - (-args.lines // BATCH))
        with ProcessPoolExecutor() as processes:
            for found in processes.map(read_lines, seeds, chunksize=20):
                malformed += found
                progress.advance(task, BATCH)
        task = progress.add_task("envelopes", total=args.envelopes)
        with tempfile.TemporaryDirectory(prefix="marquee-fuzz-", ignore_cleanup_errors=True) as directory:
            Path(directory).chmod(0o755)
            with EmbeddedPostgres(Path(directory)) as postgres:
                migrate(postgres.url)
                os.environ |= {"MARQUEE_DATABASE_URL": postgres.url}
                app = function()
                logging.disable(logging.CRITICAL)  # Every rejected event is an error in the log.
                for number in range(-(-args.envelopes // AT_A_TIME)):
                    send_requests(app, seed + number, AT_A_TIME)
                    progress.advance(task, AT_A_TIME)
    console.print(
        f"{args.lines} lines, of which {malformed} are malformed, and {args.envelopes} envelopes: "
        "no exception, no answer but 204"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
