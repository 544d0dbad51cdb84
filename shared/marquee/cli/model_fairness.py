"""``marquee model fairness``: gaps between groups of users and exposure of movies, by release."""

from __future__ import annotations

import argparse

from marquee.cli.action_arguments import add_json_option
from marquee.cli.argument_types import bounded_int
from marquee.cli.text_table import difference_text, json_text, text_table
from marquee.config.settings import Settings
from marquee.registry import fairness_history
from marquee.registry.fairness_history import ReleaseFairness
from marquee.registry.object_store.connect import connect

_HEADER = ("release", "arm", "version", "metric", "holdout", "difference from the model before", "gate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of releases and the output format."""
    parser.add_argument("--limit", type=bounded_int(1), default=10, metavar="N", help="number of releases (10)")
    add_json_option(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the fairness of the newest releases."""
    store = connect(settings.require("objects_url").objects_url, read_only=True)
    found = fairness_history.list_fairness(store, args.limit)
    if args.json:
        print(json_text(found))
    elif not found:
        print("there is no release yet")
    else:
        print(text_table(_HEADER, (row for release in found for row in _rows(release))))
    return 0


def _rows(release: ReleaseFairness) -> list[list[str]]:
    head = [str(release.release), release.arm, release.version]
    return [
        [*head, name, f"{metric.value:.4f}", _difference(release, name), release.outcome or "-"]
        for name, metric in release.values.items()
    ] or [[*head, "-", "-", "-", release.outcome or "-"]]


def _difference(release: ReleaseFairness, name: str) -> str:
    found = release.differences.get(f"serving.{name.partition('@')[0]}")
    if found is None or found.low is None or found.high is None:
        return "-"
    return difference_text(found, 4)
