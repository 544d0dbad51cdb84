"""Bucket, topics and push subscription for the emulators of compose.yaml; existing ones are kept.

The subscription is that of infra/terraform: back-off from 10 s to 600 s, dead letters after 100 attempts.
"""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from typing import Any

PROJECT = "projects/marquee"
ACK_DEADLINE_S = 90
"""30 s more than the timeout of `ingest`, as in infra/terraform/pubsub.tf."""
EVENTS, DEAD_LETTERS = f"{PROJECT}/topics/marquee-events", f"{PROJECT}/topics/marquee-dead-letters"


def create(method: str, url: str, document: dict[str, Any]) -> None:
    """Send ``document``; an object that exists already is no error."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        urllib.request.urlopen(request, timeout=10).close()
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pubsub", "objects", "push"):
        parser.add_argument(f"--{name}", required=True, metavar="URL")
    prepare(**vars(parser.parse_args()))
