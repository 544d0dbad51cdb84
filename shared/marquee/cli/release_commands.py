"""``marquee release``: see what serves, and change it."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from marquee.config.settings import Settings
from marquee.errors import ArtifactRefused, ObjectNotFound, ReleaseError
from marquee.registry import gate_report, release, rollout
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of ``marquee release`` and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "every release, the one that serves first")
    listing.add_argument("--limit", type=_positive, default=20, help="how many (default: 20)")
    showing = _action(actions, "show", "one release and the artifacts it names")
    showing.add_argument("number", type=_positive, nargs="?", help="of the release (default: what serves)")
    promoting = _change(actions, "promote", "serve a version to everybody")
    promoting.add_argument("version", help="of the artifact, such as 20260214T000921-1a2b3c4d")
    canary = _change(
        actions, "canary", "serve a version to a share of the users, what serves now to the rest"
    )
    canary.add_argument("version", help="of the artifact")
    canary.add_argument("--weight", type=float, required=True, help="the share, such as 0.1")
    splitting = _change(actions, "split", "serve several versions side by side")
    splitting.add_argument(
        "arms",
        nargs="+",
        type=_parse_arm,
        metavar="ARM=VERSION:WEIGHT",
        help="name, version and fraction of the users of each arm; the weights sum to 1",
    )
    back = _change(actions, "rollback", "bring back the release before; again: the one before that")
    back.add_argument("--to", type=_positive, metavar="N", help="bring back release N")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; errors are raised."""
    store = connect(settings.require("objects_url").objects_url)
    if args.action == "list":
        _list(store, args.limit, args.json)
    elif args.action == "show":
        _show(store, args.number, args.json)
    else:
        _report(_changed(store, args), args.json)
    return 0


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=_sentence(text))
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _change(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = _action(actions, name, text)
    parser.add_argument("--reason", default="", help="kept in the release")
    parser.add_argument("--author", default=None, help="kept in the release (default: who runs this)")
    return parser


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _positive(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) < 1:
        raise argparse.ArgumentTypeError(f"{raw!r} is no whole number above 0")
    return int(raw)


def _parse_arm(raw: str) -> tuple[str, str, float]:
    """Parse ``ARM=VERSION:WEIGHT`` into name, version and weight."""
    name, equals, rest = raw.partition("=")
    version, colon, weight = rest.rpartition(":")
    try:
        if not (name and equals and version and colon):
            raise ValueError
        return name, version, float(weight)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{raw!r} is not an arm: use ARM=VERSION:WEIGHT, such as a=20260214T000921-1a2b3c4d:0.5"
        ) from None


def _changed(store: ObjectStore, args: argparse.Namespace) -> Release:
    signed = {"author": args.author or _login(), "reason": args.reason}
    if args.action == "promote":
        return rollout.promote(store, args.version, **signed)
    if args.action == "canary":
        return rollout.canary(store, args.version, weight=args.weight, **signed)
    if args.action == "split":
        arms = {name: (version, weight) for name, version, weight in args.arms}
        if len(arms) < len(args.arms):
            raise ReleaseError("each arm needs a name of its own")
        return rollout.split(store, arms, **signed)
    return rollout.rollback(store, to=args.to, **signed)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user id that has no name.
        return "unknown"


def _report(changed: Release, as_json: bool) -> None:
    print(_json(changed) if as_json else f"release {changed.number} serves {_arms(changed)}")


def _list(store: ObjectStore, limit: int, as_json: bool) -> None:
    releases = list(islice(release.iter_releases(store), limit))
    if as_json:
        print(_json(releases))
    elif not releases:
        print("there is no release yet: `marquee retrain` makes one, or `marquee release promote VERSION`")
    else:
        print(_table(("", "RELEASE", "CREATED (UTC)", "ARMS", "AUTHOR", "REASON"), map(_row, releases)))
    for said in () if as_json else gate_report.list_refusals(store, limit):
        print(f"refused {said.version} at {said.time:%Y-%m-%d %H:%M:%S}: {said.reason}")


def _row(one: Release, /) -> Sequence[str]:
    created = one.created.strftime("%Y-%m-%d %H:%M:%S")
    return "", str(one.number), created, _arms(one), one.author, one.reason


def _table(head: Sequence[str], rows: Any) -> str:
    cells = [list(head), *map(list, rows)]
    cells[1][0] = "*"  # The first one serves.
    widths = [max(len(row[c]) for row in cells) for c in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _arms(one: Release) -> str:
    if len(one.arms) == 1:
        return one.arms[0].version
    return ", ".join(f"{arm.name} {arm.weight:.4g} {arm.version}" for arm in one.arms)


def _show(store: ObjectStore, number: int | None, as_json: bool) -> None:
    one = release.read_release(store, number) if number else _serving(store)
    manifests = {arm.version: _manifest(store, arm.version) for arm in one.arms}
    if as_json:
        print(_json({"release": one, "artifacts": manifests}))
        return
    print(f"release   {one.number}\ncreated   {one.created:%Y-%m-%d %H:%M:%S} UTC by {one.author}")
    print(f"reason    {one.reason or '-'}\nsalt      {one.salt}")
    print(f"previous  {one.previous or '-'}" + (f" (restores {one.restores})" if one.restores else ""))
    for arm in one.arms:
        print(f"\narm {arm.name}: {arm.weight:.2%} of the users\n{_described(arm.version, manifests)}")


def _serving(store: ObjectStore) -> Release:
    try:
        return release.read_current_release(store)[0]
    except ObjectNotFound as error:
        raise ReleaseError("there is no release yet: `marquee retrain` makes one") from error


def _manifest(store: ObjectStore, version: str) -> Manifest | str:
    """The manifest, or why there is none to show: a release of the past may have lost its artifact."""
    try:
        return read_manifest(store, version)
    except (ObjectNotFound, ArtifactRefused) as error:
        return str(error)


def _described(version: str, manifests: dict[str, Manifest | str]) -> str:
    manifest = manifests[version]
    if isinstance(manifest, str):
        return f"  version          {version}\n  not usable       {manifest}"
    lines = [
        ("version", version),
        ("trained through", f"{manifest.trained_through:%Y-%m-%d %H:%M:%S} UTC"),
        ("written", f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("trainer", manifest.provenance.trainer or "-"),
        ("size", f"{manifest.n_users:,} users, {manifest.n_items:,} movies, {_megabytes(manifest)} MB"),
        *((name, _interval(metric)) for name, metric in manifest.metrics.items()),
    ]
    return "\n".join(f"  {name:16} {text}" for name, text in lines)


def _megabytes(manifest: Manifest) -> str:
    return f"{sum(entry.size for entry in manifest.files.values()) / 1e6:,.1f}"


def _interval(metric: Any) -> str:
    ends = "" if metric.low is None or metric.high is None else f" [{metric.low:.4f}, {metric.high:.4f}]"
    return f"{metric.value:.4f}{ends}"


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
