"""Write the pages and schemas that are made from the code: ``make docs``."""

from __future__ import annotations

import json
from pathlib import Path

from marquee.local.described import Functions, Schedules, schema
from marquee.settings import documentation

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    (ROOT / "docs/configuration.md").write_text(documentation())
    for name, kind in (("functions", Functions), ("schedules", Schedules)):
        (ROOT / f"infra/{name}.schema.json").write_text(json.dumps(schema(kind), indent=2) + "\n")
