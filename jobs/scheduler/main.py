"""Scheduler job of Compose: starts the jobs and calls the functions of infra/schedules.yaml when they are due."""

from __future__ import annotations

import sys

from marquee.local.scheduler import main

MODULES = ("marquee.local.scheduler", "marquee.training.retrain")
"""Modules that the scheduler and its jobs import when they need them; the image's build imports each."""

if __name__ == "__main__":
    main(["--root", "/app", "--state-dir", "/home/marquee", *sys.argv[1:]])
