"""``marquee lineage``: origin, metrics and serving history of a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import msgspec

from marquee.cli.action_arguments import add_json_option
from marquee.cli.model_show import read_serving_version
from marquee.cli.text_table import interval_text, json_text
from marquee.config.settings import Settings
from marquee.data import dvc_remote
from marquee.registry import lineage
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the version and the output format."""
    parser.add_argument("version", nargs="?", help="version of the artifact (default: the one that serves)")
    add_json_option(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print all that the object store holds about the version."""
    store = connect(settings.require("objects_url").objects_url)
    result = lineage.load_lineage(store, args.version or read_serving_version(store))
    remote = connect(settings.dvc_remote) if settings.dvc_remote else None
    if args.json:
        print(json_text(result))
    else:
        snapshot = _describe_snapshot(result, remote)
        lines = (*_origin(result, snapshot), *_metrics(result), *_steps(result), *_history(result))
        print("\n".join(lines))
    return 0


def _describe_snapshot(result: lineage.Lineage, remote: ObjectStore | None) -> str:
    """Return the snapshot's hash, and whether it is in the remote: only then can the model be reproduced."""
    content = result.manifest.provenance.snapshot
    if not content:
        return "none was kept"
    if remote is None:
        return f"{content} (MARQUEE_DVC_REMOTE is not set)"
    return f"{content} ({'in' if dvc_remote.contains(remote, content) else 'NOT in'} the remote)"


def _origin(result: lineage.Lineage, snapshot: str) -> Iterator[str]:
    manifest, origin = result.manifest, result.manifest.provenance
    snapshot_params = origin.parameters.get("snapshot", {})
    yield f"version          {manifest.version}"
    yield f"written          {manifest.created:%Y-%m-%d %H:%M:%S} UTC"
    yield f"trained through  {manifest.trained_through:%Y-%m-%d %H:%M:%S} UTC"
    yield f"trainer          {origin.trainer or '-'}, seed {origin.seed}"
    yield f"commit           {origin.commit or 'unknown'}"
    yield f"snapshot         {snapshot}"
    for name in sorted(snapshot_params):
        yield f"  {name:14} {snapshot_params[name]}"
    yield "data (sha256)"
    yield from (f"  {name:14} {digest}" for name, digest in sorted(origin.data.items()))
    yield "libraries        " + ", ".join(f"{name} {v}" for name, v in sorted(origin.libraries.items()))
    yield "parameters"
    for name, value in sorted(origin.parameters.items()):
        if name not in ("snapshot", "movielens"):
            yield f"  {name:16} {msgspec.json.encode(value).decode()}"


def _metrics(result: lineage.Lineage) -> Iterator[str]:
    yield "metrics"
    yield from (f"  {name:22} {interval_text(metric, 4)}" for name, metric in result.manifest.metrics.items())
    for kind, groups in result.manifest.groups.items():
        yield f"rmse by {kind}"
        yield from (f"  {group:22} {interval_text(metric, 4)}" for group, metric in groups.items())


def _steps(result: lineage.Lineage) -> Iterator[str]:
    yield "steps (md5, as in dvc.lock)"
    for name, stage in result.manifest.provenance.stages.items():
        for out, content in stage.outs.items():
            yield f"  {name:10} {out:35} {content}"


def _history(result: lineage.Lineage) -> Iterator[str]:
    yield "served"
    for period in result.served:
        until = f"{period.until:%Y-%m-%d %H:%M:%S}" if period.until else "now"
        fraction = f" to {period.weight:.4g} as {period.arm}" if period.weight < 1 else ""
        times = f"{period.since:%Y-%m-%d %H:%M:%S} - {until}"
        yield f"  release {period.release}: {times}{fraction}: {period.reason or '-'}"
    if not result.served:
        yield "  in no release"
    yield "gate reports"
    for report in result.gate_reports:
        yield f"  {report.time:%Y-%m-%d %H:%M:%S} {report.outcome}: {report.reason}"
        yield from (f"    {finding}" for finding in report.findings)
