"""``marquee model show``: what a model is, how it was trained and which parameters were chosen."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from marquee.cli.action_arguments import add_json_option
from marquee.cli.text_table import interval_text, json_text
from marquee.config.settings import Settings
from marquee.errors import ObjectNotFound, ReleaseError
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import find_serving_release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the version and the output format."""
    parser.add_argument("version", nargs="?", help="version of the artifact (default: the one that serves)")
    add_json_option(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the manifest of the version in short."""
    store = connect(settings.require("objects_url").objects_url)
    version = args.version or read_serving_version(store)
    try:
        manifest = read_manifest(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    if args.json:
        print(json_text(manifest))
    else:
        print("\n".join(_describe(manifest)))
    return 0


def read_serving_version(store: ObjectStore) -> str:
    """Return the version of the serving release's first arm. Raises :class:`ReleaseError` if nothing serves."""
    release = find_serving_release(store)
    if release is None:
        raise ReleaseError("nothing serves yet: name a version, or run `marquee model retrain`")
    return release.arms[0].version


def _describe(manifest: Manifest) -> Iterator[str]:
    origin = manifest.provenance
    yield f"version          {manifest.version}"
    yield f"trained through  {manifest.trained_through:%Y-%m-%d %H:%M:%S} UTC"
    yield f"users, movies    {manifest.n_users:,}, {manifest.n_items:,}"
    yield f"rating model     {origin.trainer or '-'}, {manifest.rating_rank} factors"
    yield f"ranking model    {origin.ranking_method or origin.ranker or '-'}"
    yield "chosen parameters"
    yield from _describe_tuning(origin.tuning)
    yield "metrics"
    yield from (f"  {name:22} {interval_text(metric, 4)}" for name, metric in manifest.metrics.items())


def _describe_tuning(tuning: Mapping[str, Any]) -> Iterator[str]:
    if not tuning.get("chosen"):
        yield f"  none: {tuning.get('note') or 'those of params.yaml'}"
        return
    for name, value in tuning["chosen"].items():
        yield f"  {name:28} {value:g} (started from {tuning['start'][name]:g})"
    yield f"  {tuning['note']}"
