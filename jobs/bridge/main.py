"""The bridge as a job of its own: set by the environment, ended by SIGTERM."""

from __future__ import annotations

from marquee.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["bridge"]))
