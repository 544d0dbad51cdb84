"""Simulator job: the streaming service and its users (``marquee run simulate``)."""

from __future__ import annotations

import logging
import sys

from marquee.cli.main import main

MODULES = (
    "marquee.cli.run_simulate",
    "marquee.simulate.service",
)
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main(["simulate", *sys.argv[1:]]))
