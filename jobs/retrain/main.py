"""The scheduled retraining: settings from the environment, one run, its exit code.

Arguments are those of ``marquee retrain``; 0 released, 3 refused, 1 failed.
"""

from __future__ import annotations

import logging
import os
import sys

from marquee.cli.main import main
from marquee.config.settings import Settings

if __name__ == "__main__":
    level = Settings.from_mapping(os.environ).log_level
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    raise SystemExit(main(["retrain", *sys.argv[1:]]))
