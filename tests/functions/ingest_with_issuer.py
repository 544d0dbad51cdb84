"""The ``ingest`` function, with the certificates of a test's token issuer instead of Google's."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

from marquee.ingest.push_identity import PushIdentity

_spec = importlib.util.spec_from_file_location("ingest_main", Path(__file__).parents[2] / "functions/ingest/main.py")
assert _spec
assert _spec.loader
_main = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_main)
_main.PushIdentity = functools.partial(PushIdentity, certs_url=os.environ["TEST_CERTS_URL"])  # type: ignore[attr-defined]
ingest = _main.ingest
