"""``marquee``: one command with many verbs, each imported only when it is asked for.

A verb is a module with two functions: ``add_arguments(parser)`` and ``run(args, settings) -> int``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from marquee.config.settings import Settings
from marquee.errors import MarqueeError

# verb -> (module, one line of help)
VERBS = {
    "alerts": ("marquee.cli.run_alerts", "the states of the alert rules, now or watched"),
    "bridge": ("marquee.cli.run_bridge", "forward the log from Kafka to the functions"),
    "compare": ("benchmarks.models.command", "all models side by side, as docs/models.md shows them"),
    "dashboards": ("marquee.cli.run_page", "the dashboards as a page of this machine, without Grafana"),
    "data": ("marquee.cli.data_import", "fetch the base data"),
    "local": ("marquee.cli.local_commands", "the whole system on this machine: up, status, logs, down"),
    "migrate": ("marquee.cli.db_migrate", "bring the database's tables up to date"),
    "lineage": ("marquee.cli.model_lineage", "where a model came from, and where it served"),
    "monitor": ("marquee.cli.run_monitor", "online evaluation and data quality, once"),
    "pipeline": ("marquee.cli.model_pipeline", "one step of the retraining, as dvc.yaml runs it"),
    "quarantine": (
        "marquee.cli.db_quarantine",
        "lines that could not be read: list, show, replay",
    ),
    "release": ("marquee.cli.release_commands", "what serves: list, show, promote, rollback"),
    "reproduce": ("marquee.cli.model_reproduce", "make a model again, bit for bit"),
    "retention": (
        "marquee.cli.db_retention",
        "fold what is left, forget raw rows past their terms",
    ),
    "retrain": ("marquee.cli.model_retrain", "train a model, evaluate it and release it"),
    "rewind": (
        "marquee.cli.db_offsets",
        "let the bridge read again what a restored database lacks",
    ),
    "simulate": ("marquee.cli.run_simulate", "a streaming service with its customers"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the process's exit code: 0 done, 1 failed, 2 the call was wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="marquee", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    # Only the verb that was asked for is imported: `marquee --help` stays instant.
    asked = words[0] if words and words[0] in VERBS else None
    for verb, (module, text) in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        if verb == asked:
            importlib.import_module(module).add_arguments(sub)
    args = parser.parse_args(words)
    try:
        code: int = importlib.import_module(VERBS[args.verb][0]).run(args, Settings.from_mapping(os.environ))
        return code
    except MarqueeError as error:
        print(f"marquee {args.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
