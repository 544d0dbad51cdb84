"""The groups and verbs of ``marquee``, and how the words of a call name one of them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Verb(NamedTuple):
    """A module with ``add_arguments(parser)`` and ``run(args, settings) -> int``, imported only when it is called.

    ``actions`` are the subcommands that the module parses itself. ``part`` is the key of
    :data:`~marquee.config.needs.NEEDS` whose settings the verb gets; without one it gets all settings.
    """

    module: str
    help: str
    actions: str = ""
    part: str = ""


class Group(NamedTuple):
    """Verbs of one kind."""

    help: str
    verbs: dict[str, Verb]


_RETENTION = Verb("marquee.cli.db_retention", "aggregate watch sessions and delete expired rows", part="retention")

COMMANDS: dict[str, Group | Verb] = {
    "run": Group(
        "run a part of the system",
        {
            "bridge": Verb("marquee.cli.run_bridge", "forward records from Kafka to the functions", part="bridge"),
            "monitor": Verb("marquee.cli.run_monitor", "evaluate live accuracy and data quality once", part="monitor"),
            "retention": _RETENTION,
            "alerts": Verb("marquee.cli.run_alerts", "evaluate the alert rules, once or continuously"),
            "dashboards": Verb("marquee.cli.run_page", "serve the dashboards as a local web page"),
            "simulate": Verb(
                "marquee.cli.run_simulate", "simulate the streaming service and its users", part="simulate"
            ),
        },
    ),
    "model": Group(
        "train and trace models",
        {
            "retrain": Verb("marquee.cli.model_retrain", "train, evaluate and release a model", part="retrain"),
            "backtest": Verb(
                "marquee.cli.model_backtest", "replay past ratings through the serving code and compare models"
            ),
            "pipeline": Verb("marquee.cli.model_pipeline", "run one step of the pipeline, as DVC does"),
            "show": Verb("marquee.cli.model_show", "show how a model was trained and what it measured"),
            "lineage": Verb("marquee.cli.model_lineage", "show the origin and the releases of a model"),
            "fairness": Verb("marquee.cli.model_fairness", "show gaps between groups and exposure, by release"),
            "reproduce": Verb("marquee.cli.model_reproduce", "train a stored model again and compare it"),
        },
    ),
    "release": Verb(
        "marquee.cli.release_commands",
        "show or change the model that serves",
        actions="list|show|promote|canary|split|rollback|resume|repair",
    ),
    "policy": Verb(
        "marquee.cli.policy_commands",
        "show, check or set the rules that hold for every list",
        actions="show|check|set",
    ),
    "experiment": Verb(
        "marquee.cli.experiment_commands",
        "plan, start, watch and end an experiment",
        actions="plan|start|replay|status|hold|resume|end",
    ),
    "replay": Verb(
        "marquee.cli.replay_lists", "make a list that was shown again, or one that another model would have shown"
    ),
    "db": Group(
        "maintain the database",
        {
            "migrate": Verb("marquee.cli.db_migrate", "apply the missing migrations", part="migrate"),
            "quarantine": Verb(
                "marquee.cli.db_quarantine",
                "show or replay records that could not be parsed",
                actions="list|show|replay",
            ),
            "rejected": Verb(
                "marquee.cli.db_rejected",
                "show or replay deliveries that ingest could not read",
                actions="list|show|replay",
            ),
            "offsets": Verb(
                "marquee.cli.db_offsets",
                "reset the bridge's offsets to what the database lacks",
                actions="reset",
            ),
            "retention": _RETENTION,
        },
    ),
    "privacy": Verb(
        "marquee.cli.privacy_commands",
        "forget, export or stop profiling a user, and verify receipts",
        actions="forget|resume|status|export|profile|receipt|verify|public-key|transparency",
    ),
    "keys": Verb(
        "marquee.cli.key_commands", "create keys of the HTTP APIs, and tokens of users", actions="create|token"
    ),
    "data": Verb("marquee.cli.data_import", "download, import or check base data", actions="fetch|import|check"),
    "local": Verb(
        "marquee.cli.local_commands",
        "run the whole system on this machine",
        actions="up|down|demo|status|logs|env",
    ),
    "completion": Verb(
        "marquee.cli.completion", "print a script that completes this command line", actions="bash|zsh|fish"
    ),
}


class UnknownCommand(Exception):
    """Words that name no group or verb."""


def find_verb(words: list[str]) -> tuple[list[str], Verb | Group, list[str]]:
    """Return the path of the named command, the command, and the remaining words.

    The group of a verb may be omitted: ``retrain`` is ``model retrain``.
    """
    name, *rest = words
    for group_name, command in COMMANDS.items():
        if isinstance(command, Group) and name in command.verbs:
            return [group_name, name], command.verbs[name], rest
    command = _named(COMMANDS, name, "marquee")
    if isinstance(command, Verb) or not rest or rest[0] in ("-h", "--help"):
        return [name], command, rest
    return [name, rest[0]], _named(command.verbs, rest[0], f"marquee {name}"), rest[1:]


def list_commands(only: str | None = None) -> str:
    """Return the groups and verbs with a line of help each; of the group ``only`` if it is given."""
    lines = [f"usage: marquee {only} VERB ..." if only else "usage: marquee [--version] GROUP VERB ...", ""]
    for name, command in COMMANDS.items():
        if only in (None, name):
            lines.append(_line("", name, command))
            if isinstance(command, Group):
                lines += [_line("  ", verb, described) for verb, described in command.verbs.items()]
    lines += [
        "",
        "`marquee GROUP VERB --help` explains a verb. `marquee VERB` is short for `marquee GROUP VERB`.",
    ]
    return "\n".join(lines)


def _line(indent: str, name: str, command: Group | Verb) -> str:
    actions = f" ({command.actions})" if isinstance(command, Verb) and command.actions else ""
    return f"{indent}{name:<{14 - len(indent)}}{command.help}{actions}"


def _named(commands: Mapping[str, T], name: str, prefix: str) -> T:
    try:
        return commands[name]
    except KeyError:
        verbs = {verb for c in COMMANDS.values() if isinstance(c, Group) for verb in c.verbs}
        close = get_close_matches(name, {*commands, *verbs}, n=1)
        hint = f"did you mean {close[0]}?" if close else f"see `{prefix}`"
        raise UnknownCommand(f"{prefix}: there is no command {name!r}; {hint}") from None
