"""What the database is tidied of by the clock, as a job of its own: the environment of ``marquee retention``."""

from __future__ import annotations

import logging
import sys

from marquee.cli.main import main

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main(["retention", *sys.argv[1:]]))
