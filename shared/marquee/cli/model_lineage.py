"""``marquee lineage``: where a model came from, and where it served."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import msgspec

from marquee.config.settings import Settings
from marquee.data import dvc_remote
from marquee.registry import lineage
from marquee.registry.manifest import Metric
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The version, and the form."""
    parser.add_argument("version", help="of the artifact, such as 20260214T000921-1a2b3c4d")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print all that the store knows of the version."""
    found = lineage.load_lineage(connect(settings.require("objects_url").objects_url), args.version)
    kept = connect(settings.dvc_remote) if settings.dvc_remote else None
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print(
            "\n".join(
                (*_origin(found, _where(found, kept)), *_figures(found), *_stages(found), *_life(found))
            )
        )
    return 0


def _where(found: lineage.Lineage, kept: ObjectStore | None) -> str:
    """Whether the model could be made again."""
    content = found.manifest.provenance.snapshot
    if not content:
        return "none was kept"
    if kept is None:
        return f"{content} (MARQUEE_DVC_REMOTE is not set)"
    return f"{content} ({'in' if dvc_remote.contains(kept, content) else 'NOT in'} the remote)"


def _origin(found: lineage.Lineage, snapshot: str) -> Iterator[str]:
    manifest, origin = found.manifest, found.manifest.provenance
    taken = origin.parameters.get("snapshot", {})
    yield f"version          {manifest.version}"
    yield f"written          {manifest.created:%Y-%m-%d %H:%M:%S} UTC"
    yield f"trained through  {manifest.trained_through:%Y-%m-%d %H:%M:%S} UTC"
    yield f"trainer          {origin.trainer or '-'}, seed {origin.seed}"
    yield f"commit           {origin.commit or 'unknown'}"
    yield f"snapshot         {snapshot}"
    for name in sorted(taken):
        yield f"  {name:14} {taken[name]}"
    yield "data (sha256)"
    yield from (f"  {name:14} {digest}" for name, digest in sorted(origin.data.items()))
    yield "libraries        " + ", ".join(f"{name} {v}" for name, v in sorted(origin.libraries.items()))
    yield "parameters"
    for name, value in sorted(origin.parameters.items()):
        if name not in ("snapshot", "movielens"):
            yield f"  {name:14} {msgspec.json.encode(value).decode()}"


def _figures(found: lineage.Lineage) -> Iterator[str]:
    yield "metrics"
    yield from (f"  {name:22} {_metric(metric)}" for name, metric in found.manifest.metrics.items())
    for kind, groups in found.manifest.groups.items():
        yield f"rmse by {kind}"
        yield from (f"  {group:22} {_metric(metric)}" for group, metric in groups.items())


def _stages(found: lineage.Lineage) -> Iterator[str]:
    yield "steps (md5, as in dvc.lock)"
    for name, stage in found.manifest.provenance.stages.items():
        for out, content in stage.outs.items():
            yield f"  {name:10} {out:26} {content}"


def _life(found: lineage.Lineage) -> Iterator[str]:
    yield "served"
    for one in found.served:
        until = f"{one.until:%Y-%m-%d %H:%M:%S}" if one.until else "now"
        fraction = f" to {one.weight:.4g} as {one.arm}" if one.weight < 1 else ""
        yield f"  release {one.release}: {one.since:%Y-%m-%d %H:%M:%S} - {until}{fraction}: {one.reason or '-'}"
    if not found.served:
        yield "  in no release"
    yield "judged"
    for said in found.gate_reports:
        yield f"  {said.time:%Y-%m-%d %H:%M:%S} {said.outcome}: {said.reason}"
        yield from (f"    {finding}" for finding in said.findings)


def _metric(metric: Metric) -> str:
    ends = "" if metric.low is None or metric.high is None else f" [{metric.low:.4f}, {metric.high:.4f}]"
    return f"{metric.value:.4f}{ends}"
