"""Retraining job: one run of the pipeline (``marquee model retrain``); exit code 0 released, 3 refused, 1 failed.

It is 0 while there is nothing to learn from yet, because Cloud Run takes every other code for a failure.
"""

from __future__ import annotations

import logging
import os
import sys

from marquee.cli.main import main
from marquee.cli.model_retrain import EXIT_WAITING
from marquee.config.settings import Settings

MODULES = ("marquee.cli.model_retrain", "marquee.training.recipe_retraining", "marquee.training.retrain")
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    level = Settings.from_mapping(os.environ).log_level
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    code = main(["retrain", *sys.argv[1:]])
    raise SystemExit(0 if code == EXIT_WAITING else code)
