"""``marquee experiment``: plan, start, watch and end an experiment."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marquee.cli.action_arguments import add_change_action, add_json_action, get_author
from marquee.cli.argument_types import bounded_int
from marquee.cli.declaration_files import read_declaration_file
from marquee.cli.experiment_replay import add_replay_arguments, replay_experiment
from marquee.cli.release_commands import describe_arms
from marquee.cli.text_table import json_text
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import ReleaseError
from marquee.experiments.lifecycle import PREFIX, read_declaration, start
from marquee.experiments.secondary_metrics import DIFFERS, assess_secondary
from marquee.registry.experiment_steps import end_experiment, hold_experiment
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, find_serving_release, iter_releases

if TYPE_CHECKING:
    from marquee.experiments.declaration import Declaration
    from marquee.monitoring.controller import Assessment

EXIT_HARMED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    parser.epilog = "Exit code of status: 3 if an arm harms or the split is invalid."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    planning = add_json_action(
        actions, "plan", "estimate from the past how long an experiment takes to find what it declares"
    )
    planning.add_argument("file", type=Path, help="declaration, such as experiments/canary.yaml")
    planning.add_argument("--days", type=bounded_int(1), default=14, metavar="N", help="days of the past to read (14)")
    starting = add_change_action(actions, "start", "store a declaration and publish its first release")
    starting.add_argument("file", type=Path, help="declaration, such as experiments/canary.yaml")
    starting.add_argument("version", nargs="?", default="", help="version that a canary releases")
    add_replay_arguments(add_json_action(actions, "replay", "estimate the outcomes of another model or policy"))
    status = add_json_action(actions, "status", "show the running experiment, or the decisions of an earlier one")
    status.add_argument("name", nargs="?", default="", help="name of the experiment (the running one)")
    for name, text in (
        ("hold", "stop the automatic steps of the running experiment"),
        ("resume", "resume the automatic steps of the running experiment"),
    ):
        add_change_action(actions, name, text).add_argument(
            "name", nargs="?", default="", help="name (the running one)"
        )
    ending = add_change_action(actions, "end", "end the running experiment")
    ending.add_argument("name", nargs="?", default="", help="name of the experiment (the running one)")
    ending.add_argument(
        "--keep", required=True, metavar="ARM", help="arm whose version serves all users, such as control"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    store = connect(settings.require("objects_url").objects_url)
    if args.action == "plan":
        return _plan(args, settings)
    if args.action == "replay":
        return replay_experiment(args, settings)
    if args.action == "status":
        return _status(store, settings, args.name, args.json)
    signed = {"author": get_author(args), "reason": args.reason}
    if args.action == "start":
        declaration = read_declaration_file(args.file, settings)
        if declaration.recipes:
            _check_recipes(declaration)
        release = start(store, declaration, version=args.version, **signed)
    elif args.action == "end":
        release = end_experiment(store, args.name or _running_name(store), keep=args.keep, **signed)
    else:
        on_hold = args.action == "hold"
        release = hold_experiment(store, args.name or _running_name(store), on_hold=on_hold, **signed)
    print_step(release, as_json=args.json)
    return 0


def _check_recipes(declaration: Declaration) -> None:
    """Raise ``SettingsError`` if a recipe and the params.yaml of this directory give no valid parameters."""
    # Imported late, because the libraries of training take seconds.
    from marquee.training.params import Params
    from marquee.training.recipe_retraining import apply_recipe

    params = Params.read(Path("params.yaml"))
    for arm, recipe in declaration.recipes.items():
        apply_recipe(params, recipe, arm)


def print_step(release: Release, *, as_json: bool) -> None:
    """Print the release of a step."""
    if as_json:
        print(json_text(release))
        return
    state = f"experiment {release.experiment}: " if release.experiment else ""
    on_hold = ", on hold" if release.on_hold else ""
    print(f"{state}release {release.number} serves {describe_arms(release)}{on_hold}")


def _plan(args: argparse.Namespace, settings: Settings) -> int:
    from marquee.monitoring.experiment_plan import plan_experiment

    settings.require("database_url")
    declaration = read_declaration_file(args.file, settings)
    with closing(Database(settings.database_url)) as database:
        plan = plan_experiment(database, declaration, datetime.now(UTC), args.days, settings.caller_timeout_ms)
    print(json_text(plan) if args.json else "\n".join(plan.lines()))
    return 0


def _status(store: ObjectStore, settings: Settings, name: str, as_json: bool) -> int:
    serving = find_serving_release(store)
    if serving is None or not serving.experiment or name not in ("", serving.experiment):
        return _past_status(store, name, as_json)
    if read_declaration(store, serving.experiment) is None:
        print(
            json_text(serving) if as_json else f"{_head(serving)}\nit has no declaration: nothing is decided about it"
        )
        return 0
    assessed = _assess(store, settings)
    if assessed is None:
        raise ReleaseError("the experiment ended meanwhile; call `marquee experiment status` again")
    print(json_text(_document(serving, assessed)) if as_json else "\n".join(_status_lines(serving, assessed)))
    return EXIT_HARMED if assessed.decision.alert in ("harmed", "invalid") else 0


def _assess(store: ObjectStore, settings: Settings) -> Assessment | None:
    # Imported late: the models' engine is not needed by the other actions.
    from marquee.events.log_scale import LogScale
    from marquee.monitoring.controller import Controller
    from marquee.monitoring.served_prediction import Predictor

    settings.require("database_url")
    controller = Controller(
        Predictor(store),
        lambda: store,
        scale=LogScale.named(settings.rating_scale),
        caller_timeout_ms=settings.caller_timeout_ms,
    )
    with closing(Database(settings.database_url)) as database:
        return controller.assess(database, store, datetime.now(UTC), update=False)[0]


def _past_status(store: ObjectStore, name: str, as_json: bool) -> int:
    """Print the releases of an earlier experiment, newest first; without a name say that none runs."""
    if not name:
        print("null" if as_json else "no experiment runs: `marquee experiment start FILE` starts one")
        return 0
    steps = [release for release in iter_releases(store) if release.experiment == name]
    if not steps:
        raise ReleaseError(f"there was no experiment {name!r}; see {PREFIX} in the object store")
    if as_json:
        print(json_text(steps))
        return 0
    print(f"experiment {name} has ended")
    for release in steps:
        print(f"  {release.created:%Y-%m-%d %H:%M:%S} {describe_arms(release)}: {release.evidence or release.reason}")
    return 0


def _running_name(store: ObjectStore) -> str:
    serving = find_serving_release(store)
    if serving is None or not serving.experiment:
        raise ReleaseError("no experiment runs: `marquee experiment start FILE` starts one")
    return serving.experiment


def _document(serving: Release, assessed: Assessment) -> dict[str, Any]:
    return {
        "experiment": serving.experiment,
        "kind": assessed.declaration.kind,
        "release": serving,
        "look": assessed.look,
        "decision": assessed.decision,
        "secondary": assess_secondary(assessed.declaration, assessed.look),
    }


def _head(serving: Release) -> str:
    on_hold = "\non hold: a person has stopped the automatic steps" if serving.on_hold else ""
    return f"experiment {serving.experiment}: release {serving.number} serves {describe_arms(serving)}{on_hold}"


def _status_lines(serving: Release, assessed: Assessment) -> list[str]:
    decision, look, sample = assessed.decision, assessed.look, assessed.decision.sample
    as_of = f"{look.as_of:%Y-%m-%d %H:%M:%S} UTC" if look.as_of else "no record yet"
    lines = [_head(serving), f"{assessed.declaration.kind}, data through {as_of}"]
    for arm in decision.arms:
        lines.append(f"arm {arm.arm}: mean e-value of harm {arm.e:.3g} (back at {20 * len(decision.arms)})")
        for metric in arm.guardrails:
            lines.append(
                f"  {metric.metric:11} {_range(metric.harm, metric.harm_high, metric.margin)}: {metric.verdict}"
            )
        if primary := arm.primary:
            interval = "" if primary.low is None else f" [{primary.low:.4g}, {primary.high:.4g}]"
            lines.append(f"  primary {primary.metric} {primary.estimate:.4g}{interval}: {primary.verdict}")
    for secondary in assess_secondary(assessed.declaration, look):
        interval = "" if secondary.low is None else f" [{secondary.low:.4g}, {secondary.high:.4g}]"
        found = ", differs (e-BH)" if secondary.verdict == DIFFERS else ""
        lines.append(f"  secondary {secondary.arm} {secondary.metric} {secondary.estimate:.4g}{interval}{found}")
    counts = ", ".join(f"{arm} {users:,}" for arm, users in sorted(look.users.items())) or "none yet"
    lines.append(f"users {counts}; sample ratio e-values {sample.e_requests:.3g} and {sample.e_impressions:.3g}")
    lines.append(f"{sample.crossed:.2%} of the users were served by two arms")
    lines.append(f"due now: {decision.action}: {decision.reason}")
    if decision.alert:
        lines.append(f"alert: {decision.alert}")
    if assessed.declaration.recipes:
        lines.append("recipes are retrained each night; their models learn from the users of all arms (symbiosis bias)")
    return lines


def _range(harm: float, high: float, margin: float | None) -> str:
    if margin is None:
        return "no baseline yet"
    return f"harm {harm:.4g}, at most {high:.4g}, margin {margin:.4g}"
