"""Retraining job on a Spark cluster (``marquee model retrain --engine spark``); its exit codes are those of `retrain`.

A batch of Dataproc has no secrets in its environment. ``MARQUEE_SECRETS`` therefore names the secret of each variable.
"""

from __future__ import annotations

import logging
import os
import sys

from marquee.cli.main import main
from marquee.cli.model_retrain import EXIT_WAITING
from marquee.config.secret_variables import VARIABLE, read_secret_variables
from marquee.config.settings import Settings

MODULES = ("marquee.cli.model_retrain", "marquee.training.cluster.spark_engine", "google.auth.transport.requests")
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    os.environ |= read_secret_variables(os.environ)
    os.environ.pop(VARIABLE, None)
    level = Settings.from_mapping(os.environ).log_level
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    code = main(["retrain", "--engine", "spark", *sys.argv[1:]])
    raise SystemExit(0 if code == EXIT_WAITING else code)
