"""``marquee replay``: replay of a shown list, and the list that another model or policy would have shown."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from marquee.cli.action_arguments import add_json_option
from marquee.cli.argument_types import bounded_int
from marquee.cli.text_table import json_text, text_table
from marquee.config.settings import Settings
from marquee.db.past_history import find_impression, iter_last_impressions, user_history_until
from marquee.db.pool import Database
from marquee.errors import ArtifactRefused, InvalidRequest, ReleaseError
from marquee.events.batches import Impression
from marquee.registry.object_store.connect import connect
from marquee.registry.policy import Policy, decode_policy
from marquee.serving.exploration import DEFAULT_EXPLORATION
from marquee.serving.list_replay import ReplayedList, Replayer, has_same_movies, name_failure

EXIT_DIFFERENT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the ids and options."""
    parser.epilog = "Exit code: 3 if a list differs from what was shown."
    parser.add_argument(
        "id", nargs="?", default="", help="recommendation id, as in the header Marquee-Recommendation-Id"
    )
    parser.add_argument("--model", default="", metavar="VERSION", help="also show the list of this model")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="also show the list under this policy")
    parser.add_argument(
        "--last",
        type=bounded_int(1),
        default=0,
        metavar="N",
        help="make the last N lists again and count the equal ones",
    )
    add_json_option(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Replay one list or the last ones; return the exit code."""
    if bool(args.id) == bool(args.last):
        raise InvalidRequest("give a recommendation id, or --last N")
    if args.last and (args.model or args.policy):
        raise InvalidRequest("--model and --policy need a recommendation id: marquee replay ID --model VERSION")
    settings.require("objects_url", "database_url")
    policy = decode_policy(args.policy.read_bytes(), str(args.policy)) if args.policy else None
    store = connect(settings.objects_url, read_only=True)
    with closing(Database(settings.database_url)) as database:
        replayer = Replayer(store, DEFAULT_EXPLORATION, lambda *window: user_history_until(database, *window))
        if args.last:
            return _check(replayer, iter_last_impressions(database, args.last), as_json=args.json)
        shown = find_impression(database, args.id)
        if shown is None:
            raise InvalidRequest(
                f"there is no impression of {args.id[:80]!a}: lists are logged where MARQUEE_DELIVERY_URL is set, and "
                "kept for 180 days"
            )
        made = replayer.replay(shown)
        other = replayer.ask(shown, version=args.model, policy=policy) if args.model or policy is not None else None
    if args.json:
        print(json_text({"shown": shown, "replay": made, "other": other}))
    else:
        print("\n".join(_describe(shown, made, other, policy)))
    return 0 if has_same_movies(made.difference) else EXIT_DIFFERENT


def _describe(shown: Impression, made: ReplayedList, other: ReplayedList | None, policy: Policy | None) -> list[str]:
    lines = [
        f"recommendation {shown.id} of user {shown.user_id} at {shown.time:%Y-%m-%d %H:%M:%S} UTC",
        f"release {shown.release}, arm {shown.arm or 'none'}, model {shown.model_version or 'none'}, "
        f"policy {shown.policy}, tier {shown.tier}{', drawn uniformly' if shown.explored else ''}",
        f"made again: {_judge(made)}",
    ]
    lines += [f"not exact: {made.approximate}"] if made.approximate else []
    columns = [[movie.movie_id for movie in shown.movies], [movie.movie_id for movie in made.movies]]
    headers = ["position", "shown", "made again"]
    if shown.inputs and shown.inputs.teams:
        lines.append("interleaved: each movie is of the team of control or of the new arm")
        columns.append(["new" if team == "1" else "control" for team in shown.inputs.teams])
        headers.append("team")
    if other is not None:
        lines.append(
            f"other: model {other.model_version}, tier {other.tier}{', with the policy given' if policy else ''}"
        )
        lines += [f"not exact: {other.approximate}"] if other.approximate else []
        columns.append([movie.movie_id for movie in other.movies])
        headers.append("other")
    length = max(map(len, columns), default=0)
    rows = [[str(at + 1), *(column[at] if at < len(column) else "" for column in columns)] for at in range(length)]
    return [*lines, "", text_table(headers, rows)]


def _judge(made: ReplayedList) -> str:
    if not made.difference:
        return "equal, byte for byte"
    return (
        f"the same list, but {made.difference}" if has_same_movies(made.difference) else f"differs: {made.difference}"
    )


def _check(replayer: Replayer, impressions: Iterable[Impression], *, as_json: bool) -> int:
    """Replay lists; print the number of equal ones and the kinds of differences; return the exit code."""
    total, equal = 0, 0
    tiers: Counter[str] = Counter()
    differences: dict[str, list[str]] = {}
    for shown in impressions:
        total += 1
        try:
            made = replayer.replay(shown)
            reason = made.difference and "; ".join(filter(None, (made.difference, made.approximate)))
            same = has_same_movies(made.difference)
        except (ReleaseError, ArtifactRefused) as error:
            reason, same = name_failure(error), False
        equal += same
        tiers[shown.tier] += same
        if reason:
            differences.setdefault(reason if not same else "scores differ in the last bits", []).append(shown.id)
    if as_json:
        report = {"lists": total, "equal": equal, "equal_by_tier": tiers, "differences": differences}
        print(json_text(report))
    else:
        by_tier = ", ".join(f"{tier} {count:,}" for tier, count in sorted(tiers.items()))
        print(f"{equal:,} of {total:,} lists are equal ({by_tier})")
        for reason, ids in sorted(differences.items(), key=lambda item: -len(item[1])):
            print(f"  {len(ids):,} lists: {reason}; such as {ids[0]}")
    return 0 if equal == total else EXIT_DIFFERENT
