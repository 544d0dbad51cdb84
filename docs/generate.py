"""Generator of the pages and files that the code determines: ``make docs``."""

from __future__ import annotations

import json
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import msgspec
from docs.api_page import api_page
from docs.marked_sections import replace_section
from docs.openapi import openapi_document, openapi_file
from infra.compose.prepare import ACK_DEADLINE_S

from infra import cost
from marquee.bridge.bridge_limits import DEFAULT_LIMITS
from marquee.cli.text_table import markdown_table
from marquee.config.deadline_worker import BODY_S, HEADER_S
from marquee.config.fields import field_meta
from marquee.config.needs import DATABASE_PARTS, NEEDS, PROVIDED
from marquee.config.settings import PREFIX, Settings
from marquee.events.json_records import event_schema
from marquee.local.infra_spec import FunctionSpecs, ScheduleSpecs, read_functions, read_schedules

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "shared/marquee/serving/contract"
"""Folder of the files that ``recommend`` serves."""


# Sections of docs/configuration.md.
GROUPS = {
    "required": "A part does not start without those that it reads. `recommend` needs `MARQUEE_OBJECTS_URL` only.",
    "optional": "These describe the streaming service, switch something on, or name where something is.",
    "tuning": "The defaults suit the streaming service. Change them only with a measurement.",
}


def configuration_page() -> str:
    """Return ``docs/configuration.md``."""
    lines = [
        "# Configuration",
        "",
        "Environment variables configure every part of Marquee. A part reads them once, when it starts.",
        "An unknown variable that begins with `MARQUEE_` is an error. The column *read by* lists the functions",
        "and jobs; the command line reads what its verb needs.",
        "",
        "In Kubernetes, a service whose name begins with `marquee` adds variables such as `MARQUEE_PORT` to each pod",
        "of its namespace, and the parts refuse them. Set `enableServiceLinks: false` in the pods of Marquee.",
        "",
        "`make docs` writes this page from `shared/marquee/config/settings.py` and `shared/marquee/config/needs.py`;",
        "do not edit it.",
    ]
    for group, about in GROUPS.items():
        rows = [_setting_row(f) for f in fields(Settings) if field_meta(f).group == group]
        table = markdown_table(("variable", "default", "meaning", "read by"), rows)
        lines += ["", f"## {group.capitalize()}", about, "", table]
    return "\n".join([*lines, ""])


def _setting_row(setting: Field[Any]) -> tuple[str, str, str, str]:
    meta = field_meta(setting)
    default = "(none)" if setting.default in ("", ()) else f"`{setting.default}`"
    example = f" For example `{meta.example}`." if meta.example else ""
    parts = ", ".join(f"`{part}`" for part, names in NEEDS.items() if setting.name in names)
    return f"`{PREFIX}{setting.name.upper()}`", default, meta.doc + example, parts or "command line"


def needs_file() -> str:
    """Return ``infra/needs.json``, from which Terraform reads each part's settings."""
    return json.dumps({"needs": NEEDS, "provided": PROVIDED, "logins": DATABASE_PARTS}, indent=2) + "\n"


def operations_page() -> str:
    """Return ``docs/operations.md`` with its table of limits."""
    functions, schedules, settings = read_functions(ROOT), read_schedules(ROOT), Settings()
    ingest, recommend = functions["ingest"], functions["recommend"]
    concurrent = recommend.instances.max * recommend.workers * recommend.threads
    below_ingest = f"under the {ingest.timeout_s} s of `ingest`"
    below_caller = f"under the caller's {settings.caller_timeout_ms} ms"
    rows = [
        (
            "ack deadline of Pub/Sub",
            f"{ACK_DEADLINE_S} s",
            f"over the {ingest.timeout_s} s of `ingest`; at most 600 s",
        ),
        ("one request of the bridge", f"{DEFAULT_LIMITS.delivery_timeout_s:g} s", below_ingest),
        ("headers of a request to a function", f"{HEADER_S:g} s", "to arrive; then the connection is closed"),
        ("a request with a body", f"{BODY_S:g} s", f"to arrive and be answered; the {ingest.timeout_s} s of `ingest`"),
        (
            "data of one StreamBatch",
            f"{DEFAULT_LIMITS.max_bytes / 1e6:g} MB",
            "Pub/Sub accepts 10 MB, base64 included",
        ),
        ("query for the recent history", f"{settings.lookup_deadline_ms} ms", below_caller),
        ("concurrent requests of `recommend`", str(concurrent), "instances x workers x threads"),
        ("one retraining", f"{schedules['retrain'].timeout_s} s", "under the period of its schedule"),
    ]
    page = (ROOT / "docs/operations.md").read_text()
    return replace_section(page, "limits", markdown_table(("limit", "value", "bound"), rows))


def json_schema(kind: type[FunctionSpecs] | type[ScheduleSpecs]) -> dict[str, Any]:
    """Return the JSON schema of ``infra/functions.yaml`` or ``infra/schedules.yaml``, for editors."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    # In JSON a tuple is a list.
    return msgspec.json.decode(msgspec.json.encode(document), type=dict[str, Any])


def cost_page() -> str:
    """Return ``docs/cost.md`` with the table for the load of the design."""
    table = cost.table(cost.read_model(), cost.DESIGN_LOAD)
    return replace_section((ROOT / "docs/cost.md").read_text(), "cost", table)


if __name__ == "__main__":
    (ROOT / "docs/configuration.md").write_text(configuration_page())
    (ROOT / "infra/needs.json").write_text(needs_file())
    document = openapi_document()
    for name, text in (("openapi.json", openapi_file(document)), ("api.html", api_page(document))):
        (CONTRACT / name).write_text(text)
    (ROOT / "docs/events.schema.json").write_text(json.dumps(event_schema(), indent=2) + "\n")
    for name, kind in (("functions", FunctionSpecs), ("schedules", ScheduleSpecs)):
        (ROOT / f"infra/{name}.schema.json").write_text(json.dumps(json_schema(kind), indent=2) + "\n")
    (ROOT / "docs/cost.md").write_text(cost_page())
    (ROOT / "docs/operations.md").write_text(operations_page())
