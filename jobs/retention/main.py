"""Retention job: aggregate watch sessions and delete expired rows (``marquee db retention``)."""

from __future__ import annotations

import logging
import sys

from marquee.cli.main import main

MODULES = ("marquee.cli.db_retention",)
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main(["retention", *sys.argv[1:]]))
