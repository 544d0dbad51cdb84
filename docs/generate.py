"""Write the pages and schemas that are made from the code: ``make docs``."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from infra import cost
from marquee.config.fields import field_meta
from marquee.config.settings import PREFIX, Settings
from marquee.local.infra_spec import FunctionSpecs, ScheduleSpecs, schema

ROOT = Path(__file__).parents[1]


def between(page: str, name: str, made: str) -> str:
    """The page with what stands between the marks of ``name`` made anew."""
    begin, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    assert len(found.findall(page)) == 1, f"the marks of {name} are not there once"
    return found.sub(lambda _: f"{begin}\n{made}\n{end}", page)


def configuration_page() -> str:
    """``docs/configuration.md``."""
    rows = []
    for setting in fields(Settings):
        meta = field_meta(setting)
        default = "(none)" if setting.default in ("", ()) else f"`{setting.default}`"
        example = f" For example `{meta.example}`." if meta.example else ""
        rows.append(f"| `{PREFIX}{setting.name.upper()}` | {default} | {meta.doc}{example} |")
    return "\n".join(
        [
            "# Configuration",
            "",
            "Every part of Marquee is set by environment variables, read once at the start. This page is",
            "written from `shared/marquee/config/settings.py` by `make docs`; do not edit it.",
            "",
            "| variable | default | what it is |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def cost_page() -> str:
    """``docs/cost.md`` with its table for the design's load."""
    made = cost.table(cost.read_model(), cost.DESIGN_LOAD)
    return between((ROOT / "docs/cost.md").read_text(), "cost", made)


if __name__ == "__main__":
    (ROOT / "docs/configuration.md").write_text(configuration_page())
    for name, kind in (("functions", FunctionSpecs), ("schedules", ScheduleSpecs)):
        (ROOT / f"infra/{name}.schema.json").write_text(json.dumps(schema(kind), indent=2) + "\n")
    (ROOT / "docs/cost.md").write_text(cost_page())
