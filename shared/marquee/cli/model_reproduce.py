"""``marquee reproduce``: make a model again from the remote, and prove that it is the same."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.model_retrain import one_thread, watched
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.training.reproduce import Reproduction

EXIT_SAME, EXIT_OTHER = 0, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The version, and where to work."""
    parser.epilog = "Exit code: 0 the same, bit for bit; 3 another model came of it; 1 failed."
    parser.add_argument("version", help="of the artifact, such as 20260214T000921-1a2b3c4d")
    parser.add_argument("--remote", metavar="URL", help="the DVC remote (MARQUEE_DVC_REMOTE)")
    parser.add_argument("--into", type=Path, metavar="DIRECTORY", help="keep the files here; must be empty")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reproduce, and say what is the same and what is not."""
    one_thread()
    from marquee.training.reproduce import reproduce

    store = connect(settings.require("objects_url").objects_url)
    url = args.remote or settings.require("dvc_remote").dvc_remote
    with _directory(args.into) as directory, watched() as progress:
        found = reproduce(
            store, connect(url), args.version, Path(directory), commit=settings.commit, progress=progress
        )
    _show(found)
    return EXIT_SAME if found.same else EXIT_OTHER


def _directory(into: Path | None) -> tempfile.TemporaryDirectory[str] | nullcontext[str]:
    if into is None:
        return tempfile.TemporaryDirectory(prefix="marquee-reproduce-")
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise SettingsError(f"--into {into} is not empty: name a directory that is, or none")
    return nullcontext(str(into))


def _show(found: Reproduction) -> None:
    for difference in found.environment:
        print(f"differs: {difference}")
    for name, same in found.files.items():
        print(f"  {'same' if same else 'OTHER':6}{name}")
    if found.same:
        print(f"{found.version}: the same, bit for bit")
    else:
        print(f"{found.version}: NOT the same: {found.made} came of it")
