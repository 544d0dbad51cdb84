"""``python -m infra.android`` builds the Android package; `make android` calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.android.package_build import DEBUG_ORIGIN, EXAMPLE_ORIGIN, build_packages
from infra.android.toolchain import ToolUnavailable, fetch_toolchain

FOLDER = Path("build/android")


def main() -> int:
    """Fetch the tools, build both variants and print their paths; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.android", description=__doc__)
    parser.add_argument("--origin", default=EXAMPLE_ORIGIN, help="site of the release variant (default: %(default)s)")
    parser.add_argument("--tools-only", action="store_true", help="only download the tools (160 MB) into the cache")
    options = parser.parse_args()
    if not options.origin.startswith("https://"):
        parser.error(f"--origin is {options.origin!r}; it must start with https://: Android refuses other sites")
    try:
        tools = fetch_toolchain(FOLDER / "tools")
        if options.tools_only:
            return 0
        built = build_packages(tools, FOLDER / "out", options.origin.rstrip("/"))
    except (ToolUnavailable, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    for variant, site in (("release", options.origin), ("debug", DEBUG_ORIGIN)):
        for path in filter(Path.exists, (built[variant].apk, built[variant].bundle)):
            print(f"{path}  {path.stat().st_size / 1000:.1f} kB, for {site}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
