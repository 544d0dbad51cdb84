from marquee.cli import main

raise SystemExit(main())
