"""Write the pages that are made from the code: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from marquee.settings import documentation

HERE = Path(__file__).parent

if __name__ == "__main__":
    (HERE / "configuration.md").write_text(documentation())
