"""``marquee release``: show or change the model that serves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from marquee.cli.action_arguments import add_change_action, add_json_action, get_author
from marquee.cli.argument_types import bounded_float, bounded_int
from marquee.cli.declaration_files import CANARY_FILE, read_declaration_file
from marquee.cli.text_table import interval_text, json_text, text_table
from marquee.config.settings import Settings
from marquee.errors import ArtifactRefused, ObjectNotFound, ReleaseError
from marquee.experiments.lifecycle import start
from marquee.registry import gate_report, release, rollout
from marquee.registry.arm_assignment import Arm, spread_arms
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release
from marquee.registry.release_rules import MAX_NUMBER

_REMEDY = "instances serve the newest whole release, and `marquee release repair` makes it current"
_NUMBER = bounded_int(1, MAX_NUMBER)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = add_json_action(actions, "list", "list the releases, the current one first")
    listing.add_argument("--limit", type=bounded_int(1), default=20, metavar="N", help="number of releases (20)")
    showing = add_json_action(actions, "show", "show a release and its artifacts")
    showing.add_argument("number", type=_NUMBER, nargs="?", help="number of the release (the current one)")
    promoting = add_change_action(actions, "promote", "serve a version to all users")
    promoting.add_argument("version", help="version of the artifact, such as 20260214T000921-1a2b3c4d")
    canary = add_change_action(actions, "canary", "release a version as a canary, which grows or ends automatically")
    canary.add_argument("version", help="version of the artifact")
    canary.add_argument(
        "--file", type=Path, default=CANARY_FILE, help=f"declaration ({CANARY_FILE}, or the defaults without that file)"
    )
    canary.add_argument(
        "--weight", type=bounded_float(0, 1), help="fixed fraction, at most 0.5, without automatic steps"
    )
    splitting = add_change_action(actions, "split", "serve several versions side by side")
    splitting.add_argument(
        "arms",
        nargs="+",
        type=_parse_arm,
        metavar="ARM=VERSION:WEIGHT",
        help="name, version and fraction of the users of each arm; the weights sum to 1",
    )
    splitting.add_argument(
        "--enrolled",
        type=bounded_float(0, 1),
        default=1.0,
        metavar="SHARE",
        help="fraction of the users who take part (1); the others get the first version",
    )
    back = add_change_action(actions, "rollback", "restore the previous release; repeated calls go further back")
    back.add_argument("--to", type=_NUMBER, metavar="N", help="restore release N")
    add_change_action(actions, "resume", "allow automatic releases again after a rollback")
    add_json_action(actions, "repair", "restore a damaged releases/current.json from the newest whole release")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    store = connect(settings.require("objects_url").objects_url)
    if args.action == "list":
        _list(store, args.limit, args.json)
    elif args.action == "show":
        _show(store, args.number, args.json)
    elif args.action == "repair":
        _repair(store, args.json)
    else:
        _print_change(_change_release(store, args, settings), args.json)
    return 0


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


def _change_release(store: ObjectStore, args: argparse.Namespace, settings: Settings) -> Release:
    signed = {"author": get_author(args), "reason": args.reason}
    if args.action == "promote":
        return rollout.promote(store, args.version, **signed)
    if args.action == "canary" and args.weight is None:
        file = None if args.file == CANARY_FILE and not args.file.exists() else args.file
        return start(store, read_declaration_file(file, settings), version=args.version, **signed)
    if args.action == "canary":
        return rollout.canary(store, args.version, weight=args.weight, **signed)
    if args.action == "split":
        arms = {name: (version, weight) for name, version, weight in args.arms}
        if len(arms) < len(args.arms):
            raise ReleaseError("each arm needs a name of its own")
        return rollout.split(store, arms, enrolled=args.enrolled, **signed)
    if args.action == "resume":
        return rollout.resume(store, **signed)
    return rollout.rollback(store, to=args.to, **signed)


def _print_change(changed: Release, as_json: bool) -> None:
    print(
        json_text(changed) if as_json else f"release {changed.number} serves {describe_arms(changed)}{_pause(changed)}"
    )


def _pause(shown: Release) -> str:
    return f"\n{release.PAUSED}" if shown.paused else ""


def _repair(store: ObjectStore, as_json: bool) -> None:
    repaired = rollout.repair_current_release(store)
    current = repaired or _current(store)
    if as_json:
        print(json_text(current))
    elif repaired:
        print(f"{release.CURRENT} was restored: release {current.number} serves {describe_arms(current)}")
    else:
        print(f"{release.CURRENT} needs no repair: release {current.number} serves {describe_arms(current)}")


def _list(store: ObjectStore, limit: int, as_json: bool) -> None:
    releases = list(islice(release.iter_releases(store), limit))
    if as_json:
        print(json_text(releases))
    elif not releases:
        print("there is no release yet: `marquee retrain` makes one, or `marquee release promote VERSION`")
    else:
        current = _current_number(store)
        rows = (_row(each, current) for each in releases)
        print(text_table(("", "RELEASE", "CREATED (UTC)", "ARMS", "AUTHOR", "REASON"), rows))
    for refusal in () if as_json else gate_report.list_refusals(store, limit):
        print(f"refused {refusal.version} at {refusal.time:%Y-%m-%d %H:%M:%S}: {refusal.reason}")


def _current_number(store: ObjectStore) -> int:
    """Return the number of the current release; 0, with a warning, if its document cannot be used."""
    try:
        return _current(store).number
    except ReleaseError as error:
        print(f"warning: {error}", file=sys.stderr)
        return 0


def _row(each: Release, current: int) -> Sequence[str]:
    created = each.created.strftime("%Y-%m-%d %H:%M:%S")
    mark = "*" if each.number == current else ""
    return mark, str(each.number), created, describe_arms(each), each.author, each.reason


def describe_arms(shown: Release) -> str:
    """Return the version that serves, or each arm with its fraction of all users and its version."""
    if len(shown.arms) == 1:
        return shown.arms[0].version
    arms = spread_arms(shown.arms, shown.enrolled)
    return ", ".join(f"{arm.name} {arm.weight:.4g} {arm.version}{_name_policy(arm, shown)}" for arm in arms)


def _name_policy(arm: Arm, shown: Release) -> str:
    """Return the policy of the arm, where the arms have different ones."""
    differ = len({one.policy.number for one in shown.arms}) > 1
    return f" with policy {arm.policy.number}" if differ and arm.policy.number else ""


def _show(store: ObjectStore, number: int | None, as_json: bool) -> None:
    shown = release.read_release(store, number) if number else _current(store)
    manifests = {arm.version: _manifest(store, arm.version) for arm in shown.arms}
    if as_json:
        print(json_text({"release": shown, "artifacts": manifests}))
        return
    print(f"release   {shown.number}\ncreated   {shown.created:%Y-%m-%d %H:%M:%S} UTC by {shown.author}")
    print(f"reason    {shown.reason or '-'}\nsalt      {shown.salt}")
    print(f"previous  {shown.previous or '-'}" + (f" (restores {shown.restores})" if shown.restores else ""))
    if shown.paused:
        print(release.PAUSED)
    if shown.experiment:
        interleaved = ", lists are interleaved" if shown.interleaved else ""
        print(f"experiment {shown.experiment}, {shown.enrolled:.2%} of the users take part{interleaved}")
    if shown.evidence:
        print(f"evidence  {shown.evidence}")
    for arm in shown.arms:
        print(f"\narm {arm.name}: {arm.weight * shown.enrolled:.2%} of the users\n{_describe(arm.version, manifests)}")


def _current(store: ObjectStore) -> Release:
    try:
        return release.read_current_release(store)[0]
    except ObjectNotFound as error:
        if release.find_serving_release(store):
            raise ReleaseError(f"there is no {release.CURRENT}; {_REMEDY}") from error
        raise ReleaseError("there is no release yet: `marquee retrain` makes one") from error
    except release.UnusableRelease as error:
        raise ReleaseError(f"{error}; {_REMEDY}") from error


def _manifest(store: ObjectStore, version: str) -> Manifest | str:
    """Return the manifest, or the reason that it cannot be read: an old artifact may have been deleted."""
    try:
        return read_manifest(store, version)
    except (ObjectNotFound, ArtifactRefused) as error:
        return str(error)


def _describe(version: str, manifests: dict[str, Manifest | str]) -> str:
    manifest = manifests[version]
    if isinstance(manifest, str):
        return f"  version          {version}\n  not usable       {manifest}"
    lines = [
        ("version", version),
        ("trained through", f"{manifest.trained_through:%Y-%m-%d %H:%M:%S} UTC"),
        ("written", f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("trainer", manifest.provenance.trainer or "-"),
        ("size", f"{manifest.n_users:,} users, {manifest.n_items:,} movies, {_megabytes(manifest)} MB"),
        *((name, interval_text(metric, 4)) for name, metric in manifest.metrics.items()),
    ]
    return "\n".join(f"  {name:16} {text}" for name, text in lines)


def _megabytes(manifest: Manifest) -> str:
    return f"{sum(entry.size for entry in manifest.files.values()) / 1e6:,.1f}"
