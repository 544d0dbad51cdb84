"""Bridge job: forward Kafka records until SIGTERM (``marquee run bridge``)."""

from __future__ import annotations

import sys

from marquee.cli.main import main

MODULES = ("marquee.cli.run_bridge", "confluent_kafka", "google.cloud.pubsub_v1")
"""Modules that the command imports when it needs them; the image's build imports each."""

if __name__ == "__main__":
    raise SystemExit(main(["bridge", *sys.argv[1:]]))
