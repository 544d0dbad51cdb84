"""``marquee reproduce``: train a stored model again and compare it with the original."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from marquee.cli.progress_bar import progress_bar
from marquee.config.blas_threads import limit_blas_threads
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.training.reproduce import Reproduction

EXIT_IDENTICAL, EXIT_DIFFERENT = 0, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the version, the remote and the directory."""
    parser.epilog = "Exit code: 0 identical, bit for bit; 3 a different model; 1 failed."
    parser.add_argument("version", help="version of the artifact, such as 20260214T000921-1a2b3c4d")
    parser.add_argument("--remote", metavar="URL", help="DVC remote (default: MARQUEE_DVC_REMOTE)")
    parser.add_argument("--into", type=Path, metavar="DIRECTORY", help="keep the files here; must be empty or new")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reproduce the model and print which files are identical."""
    limit_blas_threads()
    from marquee.training.reproduce import reproduce

    store = connect(settings.require("objects_url").objects_url)
    url = args.remote or settings.require("dvc_remote").dvc_remote
    with _directory(args.into) as directory, progress_bar() as progress:
        result = reproduce(
            store, connect(url), args.version, Path(directory), commit=settings.commit, progress=progress
        )
    _print_result(result)
    return EXIT_IDENTICAL if result.identical else EXIT_DIFFERENT


def _directory(into: Path | None) -> tempfile.TemporaryDirectory[str] | nullcontext[str]:
    if into is None:
        return tempfile.TemporaryDirectory(prefix="marquee-reproduce-")
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise SettingsError(f"--into {into} is not empty; name an empty or new directory")
    return nullcontext(str(into))


def _print_result(result: Reproduction) -> None:
    for difference in result.environment:
        print(f"differs: {difference}")
    for name, identical in result.files.items():
        print(f"  {'identical' if identical else 'DIFFERENT':10}{name}")
    if result.identical:
        print(f"{result.version}: identical, bit for bit")
    else:
        print(f"{result.version}: DIFFERENT: the result is {result.rebuilt_version}")
