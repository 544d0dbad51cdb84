"""``marquee policy``: show, check or set the rules that hold for every list."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from marquee.cli.action_arguments import add_signature_options, get_author
from marquee.cli.argument_types import bounded_float, bounded_int
from marquee.cli.text_table import json_text
from marquee.config.settings import Settings
from marquee.errors import ArtifactRefused, ReleaseError
from marquee.registry import policy_rollout
from marquee.registry.item_factors import ItemFactors
from marquee.registry.item_store import read_items
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.policy import NO_POLICY, Policy, decode_policy
from marquee.registry.release import Release, find_serving_release, read_release, require_release
from marquee.registry.release_rules import MAX_NUMBER

_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    showing = actions.add_parser(
        "show", help="show the policy of each arm", description="Show the policy of each arm, as JSON."
    )
    showing.add_argument(
        "number", type=bounded_int(1, MAX_NUMBER), nargs="?", help="number of the release (the current one)"
    )
    checking = actions.add_parser(
        "check",
        help="check a policy against the model that serves",
        description="Check a policy, and say what it does to the movies of the model that serves. Changes nothing.",
    )
    setting = actions.add_parser(
        "set",
        help="give a policy to all users, or to a fraction of them",
        description="Publish a release with the policy. `marquee release rollback` undoes it.",
    )
    for action in (checking, setting):
        action.add_argument("file", type=Path, help="policy in JSON (docs/recommend.md); - reads standard input")
    setting.add_argument(
        "--canary",
        type=bounded_float(0, 0.5),
        metavar="WEIGHT",
        help="only for this fraction of the users, as an experiment beside the current policy",
    )
    add_signature_options(setting)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    store = connect(settings.require("objects_url").objects_url)
    if args.action == "show":
        _show(require_release(find_serving_release(store)) if args.number is None else read_release(store, args.number))
        return 0
    policy = _read_policy(args.file)
    if args.action == "check":
        _check(store, policy)
        return 0
    author, reason = get_author(args), args.reason
    if args.canary is not None:
        name = f"policy-{secrets.token_hex(4)}"
        release = policy_rollout.start_policy_canary(
            store, policy, weight=args.canary, name=name, author=author, reason=reason
        )
        print(f"release {release.number} gives the policy to {args.canary:.2%} of the users: experiment {name}")
        print("nothing is decided about it: end it with `marquee experiment end --keep canary` or `--keep control`")
    else:
        release = policy_rollout.set_policy(store, policy, author=author, reason=reason)
        print(f"release {release.number} serves policy {release.arms[0].policy.number}")
    return 0


def _read_policy(path: Path) -> Policy:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    return decode_policy(data, str(path))


def _show(release: Release) -> None:
    policies = {arm.name: arm.policy for arm in release.arms}
    document = {"release": release.number, "policies": policies}
    print(json_text(document))


def _check(store: ObjectStore, policy: Policy) -> None:
    """Print the effects of a policy on the first arm's model."""
    arm = require_release(find_serving_release(store)).arms[0]
    try:
        factors = read_items(store, arm.version)
    except ArtifactRefused as error:
        raise ReleaseError(f"the policy is valid, but the model of the first arm cannot be read: {error}") from error
    now = datetime.now(UTC)
    hidden = set(policy.hidden_ids(now))
    n_items = len(factors.movie_ids)
    same = msgspec.structs.replace(arm.policy, number=0) == msgspec.structs.replace(policy, number=0)
    print(f"the policy is valid{'; it serves already' if same and policy != NO_POLICY else ''}")
    print(f"hidden now: {len(hidden & factors.items.keys())} of {n_items} movies of {arm.version}")
    pins = policy.active_pins(now)
    print(f"pinned now: {len(pins)}")
    if change := policy.next_change(now):
        print(f"next change of a window or a pin: {change.isoformat()}")
    named = {*policy.unavailable, *(w.movie_id for w in policy.windows), *(p.movie_id for p in policy.pins)}
    if unknown := sorted(named - factors.items.keys()):
        print(f"warning: {len(unknown)} movies are unknown to the model: {', '.join(unknown[:_SHOWN])}")
    shared = sorted(at for at, count in Counter(pin.position for pin in pins).items() if count > 1)
    if shared:
        print(
            f"warning: several movies are pinned now at {', '.join(map(str, shared))}: the first that may be shown is"
        )
    _warn_of_missing_attributes(policy, factors)


def _warn_of_missing_attributes(policy: Policy, factors: ItemFactors) -> None:
    metadata, n_items = factors.metadata, len(factors.movie_ids)
    unrated = sum(age < 0 for age in metadata.ages) if metadata.ages else n_items
    if policy.age_from_account and unrated:
        passing = "pass" if policy.unknown_age_passes else "are never shown"
        print(f"warning: {unrated} of {n_items} movies have no age rating; they {passing}")
    columns = {"country": metadata.countries, "language": metadata.languages, "genre": metadata.genres}
    for quota in policy.quotas:
        counts = Counter(name for text in columns[quota.attribute] for name in text.lower().split("|"))
        if not any(counts[value.lower()] for value in quota.values):
            print(f"warning: no movie has {quota.attribute} {' or '.join(quota.values)}: the quota has no effect")
    if policy.cost_weight and not metadata.costs:
        print("warning: the model has no license fees: cost_weight has no effect")
