"""The bridge's command with the limits of a test, given as one argument of JSON, and its health file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import msgspec

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.cli.run_bridge import run
from marquee.config.settings import Settings
from marquee.local.process import Process


def bridge_process(
    name: str, log: Path, environment: Mapping[str, str], limits: BridgeLimits, health_file: str = ""
) -> Process:
    """Return a bridge that runs as a process of its own, with these limits."""
    argument = msgspec.json.encode(asdict(limits)).decode()
    return Process(name, [sys.executable, __file__, argument, health_file], log, environment)


if __name__ == "__main__":
    limits = msgspec.json.decode(sys.argv[1], type=BridgeLimits)
    health_file = Path(sys.argv[2]) if sys.argv[2] else None
    raise SystemExit(run(argparse.Namespace(health_file=health_file), Settings.from_mapping(os.environ), limits))
