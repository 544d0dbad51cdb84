"""The streaming service as a job of its own: the arguments and environment of ``marquee simulate``."""

from __future__ import annotations

import logging
import sys

from marquee.cli.main import main

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main(["simulate", *sys.argv[1:]]))
