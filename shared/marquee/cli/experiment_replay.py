"""``marquee experiment replay``: the outcomes that another model or policy would have had, from logged lists."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.argument_types import bounded_int
from marquee.cli.text_table import json_text
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import InvalidRequest
from marquee.registry.object_store.connect import connect
from marquee.registry.policy import decode_policy

if TYPE_CHECKING:
    from marquee.experiments.off_policy import OffPolicyEstimate
    from marquee.monitoring.logged_lists import OffPolicyReport

EXIT_REFUSED = 4


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = "Exit code: 4 if the lists carry no estimate."
    parser.add_argument("version", nargs="?", default="", help="model (default: those that served, for --policy)")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy of the other lists (that of each list)")
    parser.add_argument("--days", type=bounded_int(1), default=14, metavar="N", help="days of lists to read (14)")
    parser.add_argument(
        "--lists", type=bounded_int(1), default=20_000, metavar="N", help="most lists to read, the newest (20000)"
    )
    parser.add_argument(
        "--window-min", type=bounded_int(1), default=60, metavar="N",
        help="minutes after a list in which a movie that is begun, or clicked, counts (60)",
    )  # fmt: skip
    parser.add_argument("--clicks", action="store_true", help="count movies clicked, as apps report them, not begun")


def replay_experiment(args: argparse.Namespace, settings: Settings) -> int:
    """Print the estimate, or the reason why there is none."""
    # Imported late, because the other actions do not need the engine.
    from marquee.db.past_history import read_outcomes, user_history_until
    from marquee.monitoring.logged_lists import estimate_other
    from marquee.serving.exploration import DEFAULT_EXPLORATION
    from marquee.serving.list_replay import Replayer
    from marquee.serving.list_request import LIST_LENGTH

    if not args.version and args.policy is None:
        raise InvalidRequest("give a version, --policy FILE, or both: marquee experiment replay VERSION")
    settings.require("objects_url", "database_url")
    policy = decode_policy(args.policy.read_bytes(), str(args.policy)) if args.policy else None
    window = timedelta(minutes=args.window_min)
    until = datetime.now(UTC) - window
    since = until - timedelta(days=args.days)
    with closing(Database(settings.database_url)) as database:
        replayer = Replayer(
            connect(settings.objects_url, read_only=True),
            DEFAULT_EXPLORATION,
            lambda *period: user_history_until(database, *period),
        )
        if args.version:
            replayer.load_engine(args.version)
        report = estimate_other(
            replayer,
            read_outcomes(database, since, until, window, length=LIST_LENGTH, limit=args.lists, clicks=args.clicks),
            version=args.version,
            policy=policy,
            since=since,
            until=until,
            window=window,
        )
    if args.json:
        print(json_text(report))
    else:
        print("\n".join(_describe(report, "clicked" if args.clicks else "begun")))
    return EXIT_REFUSED if report.refusal else 0


def _describe(report: OffPolicyReport, outcome: str) -> list[str]:
    lines = [f"lists of {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"]
    if report.refusal:
        lines.append(report.refusal)
    elif report.estimate:
        estimate = report.estimate
        lines.append(
            f"{report.version or 'the policy'} would have had {_interval(estimate)} movies {outcome} per list, within "
            f"{report.window_min} minutes; observed {estimate.observed:.4g}"
        )
    if report.estimate:
        one = report.estimate
        lines.append(
            f"{one.lists:,} lists of {one.users:,} users; support {one.support:.1%}, balance {one.balance:.3f}"
        )
        lines.append(f"effective movies {one.effective:,.0f}, largest weight {one.largest:.3g}")
    if report.check:
        agrees = "agrees" if report.consistent else "does not agree"
        lines.append(f"check: the models that served, without exploration, {_interval(report.check)}: {agrees}")
    lines += [f"{count:,} lists left out: {reason}" for reason, count in sorted(report.left_out.items())]
    return lines


def _interval(estimate: OffPolicyEstimate) -> str:
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
