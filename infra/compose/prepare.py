"""Bucket, topics and push subscription for the emulators of compose.yaml; existing ones are kept.

The subscription is that of infra/terraform: back-off from 10 s to 600 s, dead letters after 100 attempts. With
``--every-s`` it looks again and again, because the Pub/Sub emulator forgets everything when it restarts.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from threading import Event
from typing import Any

PROJECT = "projects/marquee"
ACK_DEADLINE_S = 90
"""30 s more than the timeout of `ingest`, as in infra/terraform/pubsub.tf."""
EVENTS, DEAD_LETTERS = f"{PROJECT}/topics/marquee-events", f"{PROJECT}/topics/marquee-dead-letters"
# Docker passes the proxy of its configuration to every container; the emulators are in the same network.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def create(method: str, url: str, document: dict[str, Any]) -> None:
    """Send ``document``; an object that exists already is no error."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        _DIRECT.open(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def subscription(push: str) -> dict[str, Any]:
    """Return the subscription that pushes to ``push``."""
    return {
        "topic": EVENTS,
        "ackDeadlineSeconds": ACK_DEADLINE_S,
        "pushConfig": {"pushEndpoint": push},
        "retryPolicy": {"minimumBackoff": "10s", "maximumBackoff": "600s"},
        "deadLetterPolicy": {"deadLetterTopic": DEAD_LETTERS, "maxDeliveryAttempts": 100},
    }


def prepare(pubsub: str, objects: str, push: str) -> None:
    """Create everything; ``push`` is the URL of `ingest`."""
    create("POST", f"{objects}/storage/v1/b?project=marquee", {"name": "marquee"})
    for topic in (EVENTS, DEAD_LETTERS):
        create("PUT", f"{pubsub}/v1/{topic}", {})
    create("PUT", f"{pubsub}/v1/{PROJECT}/subscriptions/marquee-ingest", subscription(push))
    dead = {"topic": DEAD_LETTERS, "ackDeadlineSeconds": 60}
    create("PUT", f"{pubsub}/v1/{PROJECT}/subscriptions/marquee-dead-letters", dead)


def prepare_repeatedly(
    pubsub: str, objects: str, push: str, every_s: float, stop: Event, health_file: Path | None = None
) -> None:
    """Create what is missing every ``every_s`` seconds until ``stop`` is set.

    ``health_file`` is touched each time that everything exists.
    """
    while not stop.is_set():
        try:
            prepare(pubsub, objects, push)
            if health_file:
                health_file.touch()
        except OSError as error:  # An emulator is restarting.
            sys.stderr.write(f"trying again in {every_s:g} s: {error}\n")
        stop.wait(every_s)


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pubsub", "objects", "push"):
        parser.add_argument(f"--{name}", required=True, metavar="URL")
    parser.add_argument("--every-s", type=float, metavar="S", help="look again every S seconds (default: once)")
    parser.add_argument("--health-file", type=Path, metavar="FILE", help="touch FILE while everything exists")
    return parser


def main() -> None:
    """Create everything once, or keep it in existence with ``--every-s``."""
    args = create_parser().parse_args()
    urls = (args.pubsub, args.objects, args.push)
    if not args.every_s:
        return prepare(*urls)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return prepare_repeatedly(*urls, args.every_s, stop, args.health_file)


if __name__ == "__main__":
    main()
