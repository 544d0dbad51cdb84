"""``make fuzz``: ten million mutated records for the parser, 100,000 malformed envelopes for ``ingest``."""

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
from tests.fuzz.targets import BATCH_SIZE, create_ingest, parse_mutated, send_requests

from marquee.db.migrate import migrate
from marquee.local.embedded_postgres import EmbeddedPostgres

REQUESTS_PER_SEED = 500


def main() -> int:
    """Return 0; a failure raises, with its seed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--envelopes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    console = Console()
    console.print(f"seed {seed}")
    with Progress(console=console) as progress:
        task, malformed = progress.add_task("records", total=args.records), 0
        seeds = range(seed, seed - (-args.records // BATCH_SIZE))
        with ProcessPoolExecutor() as processes:
            for count in processes.map(parse_mutated, seeds, chunksize=20):
                malformed += count
                progress.advance(task, BATCH_SIZE)
        task = progress.add_task("envelopes", total=args.envelopes)
        with tempfile.TemporaryDirectory(prefix="marquee-fuzz-", ignore_cleanup_errors=True) as directory:
            Path(directory).chmod(0o755)
            with EmbeddedPostgres(Path(directory)) as postgres:
                migrate(postgres.url)
                os.environ |= {"MARQUEE_DATABASE_URL": postgres.url}
                app = create_ingest()
                logging.disable(logging.CRITICAL)  # Every rejected event is an error in the log.
                for number in range(-(-args.envelopes // REQUESTS_PER_SEED)):
                    send_requests(app, seed + number, REQUESTS_PER_SEED)
                    progress.advance(task, REQUESTS_PER_SEED)
    console.print(
        f"{args.records} records, of which {malformed} are malformed, and {args.envelopes} envelopes: "
        "no exception, no answer but 204"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
