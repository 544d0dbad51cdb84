"""``python -m marquee``."""

from marquee.cli.main import main

raise SystemExit(main())
