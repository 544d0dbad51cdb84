"""Migration job: apply the missing database migrations (``marquee db migrate``)."""

from __future__ import annotations

import logging
import sys

from marquee.cli.main import main

MODULES = ("marquee.cli.db_migrate", "marquee.app.document_schema")
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main(["migrate", *sys.argv[1:]]))
