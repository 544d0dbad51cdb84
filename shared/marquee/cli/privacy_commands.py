"""``marquee privacy``: forget, export or stop profiling a user, and verify receipts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from marquee.cli.action_arguments import add_action
from marquee.cli.argument_types import check_user_id
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import set_profiling
from marquee.errors import ReceiptRefused, ReleaseError
from marquee.events.log_scale import LogScale
from marquee.registry.object_store.connect import connect

if TYPE_CHECKING:
    from marquee.app.documents import Documents
    from marquee.privacy.forget import Places


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    forgetting = _add(actions, "forget", "erase all data of users, and print signed receipts", "users")
    _add_forget_options(forgetting)
    _add_forget_options(_add(actions, "resume", "resume open requests"))
    _add(actions, "status", "show open requests")
    exporting = _add(actions, "export", "print all data of a user as JSON", "user")
    exporting.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead")
    profile = _add(actions, "profile", "allow or forbid the profiling of a user", "user")
    profile.add_argument(
        "state", choices=("on", "off"), help="off: their data are neither read, stored nor learned from"
    )
    _add(actions, "pseudonymize", "store keyed hashes instead of user ids, in all rows and from now on")
    _add(actions, "receipt", "print the receipt of a finished request", "user")
    verifying = _add(actions, "verify", "verify a receipt")
    verifying.add_argument("file", type=Path, help="file with the receipt; - is standard input")
    verifying.add_argument("--public-key", metavar="HEX", help="expected signer (default: that of MARQUEE_PRIVACY_KEY)")
    page = _add(actions, "transparency", "write the page that explains the recommender in service")
    page.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of the screen")
    _add(actions, "public-key", "print the public key of the receipts")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    if args.action in ("verify", "public-key"):
        return _verify(args, settings)
    if args.action == "transparency":
        return _write_page(args, settings)
    settings.require("database_url", "privacy_key")
    for user in args.users if args.action == "forget" else [args.user] if hasattr(args, "user") else []:
        check_user_id(user)
    with closing(Database(settings.database_url)) as database:
        if args.action in ("forget", "resume"):
            return _forget(args, settings, database)
        if args.action == "export":
            return _export(args, settings, database)
        if args.action == "profile":
            set_profiling(database, settings.privacy_key, args.user, allowed=args.state == "on")
            print(f"profiling of the user is {args.state}")
            return 0
        if args.action == "pseudonymize":
            return _replace_user_ids(database, settings.privacy_key)
        return _show(args, settings, database)


def _add(actions: Any, name: str, text: str, users: str = "") -> argparse.ArgumentParser:
    parser = add_action(actions, name, text)
    if users == "users":
        parser.add_argument("users", nargs="+", metavar="USER", help="id of a user")
    elif users:
        parser.add_argument("user", metavar="USER", help="id of the user")
    return parser


def _add_forget_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--logs", type=Path, action="append", default=[], metavar="DIRECTORY", help="redact log files; repeatable"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument(
        "--despite-gate", action="store_true", help="release the model without the users even if the gate refuses it"
    )
    if parser.prog.endswith("forget"):
        parser.add_argument("--mark-only", action="store_true", help="stop after the mark; `resume` does the rest")


def _forget(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    from marquee.privacy import forget_journal
    from marquee.privacy.forget import Forgetting

    settings.require("objects_url")
    if args.action == "forget":
        forget_journal.open_requests(database, settings.privacy_key, args.users)
        if args.mark_only:
            return 0
    with _places(args, settings, database) as places:
        for receipt in Forgetting(places, settings.privacy_key).run():
            print(receipt, flush=True)
    return 0


@contextmanager
def _places(args: argparse.Namespace, settings: Settings, database: Database) -> Iterator[Places]:
    from marquee.privacy.forget import Places
    from marquee.privacy.user_export import read_base_rows

    base = Path(settings.base_data) if settings.base_data else None

    def remains(users: Sequence[str]) -> tuple[str, ...]:
        found = ["Kafka and dead letters keep old records until their own retention; they are dropped at ingestion"]
        if base and read_base_rows(base, list(users)):
            found.append(f"the base data ({base.name}) hold the user; every training leaves them out")
        return tuple(found)

    with _connect_app(settings) as documents:
        yield Places(
            database=database,
            store=connect(settings.objects_url),
            retrain=lambda: _retrain(args, settings, database),
            remote=connect(settings.dvc_remote) if settings.dvc_remote else None,
            erase_documents=_bind(documents, "erase_user"),
            logs=tuple(args.logs),
            grace_s=2 * settings.release_refresh_s,
            remains=remains,
        )


def _bind(documents: Documents | None, action: str) -> Callable[[str], dict[str, Any]] | None:
    """Return a function of the app's documents that takes a user; None without MongoDB."""
    if documents is None:
        return None
    from marquee.app import user_documents

    return partial(getattr(user_documents, action), documents)


@contextmanager
def _connect_app(settings: Settings) -> Iterator[Documents | None]:
    """Provide the app's documents, with the longer deadline of a job; None without MongoDB."""
    if not settings.documents_url:
        yield None
        return
    from marquee.app.documents import Documents

    with closing(Documents(settings.documents_url, deadline_ms=20_000)) as documents:
        yield documents


def _retrain(args: argparse.Namespace, settings: Settings, database: Database) -> str:
    """Train on the remaining data, and release the model to all users; return the outcome as a sentence."""
    from marquee.config.blas_threads import limit_blas_threads

    limit_blas_threads()
    from datetime import UTC, datetime

    from marquee.data.snapshot import SnapshotRequest
    from marquee.registry.rollout import promote
    from marquee.training.params import Params
    from marquee.training.release_policy import REFUSED
    from marquee.training.retrain import retrain

    base = Path(settings.base_data) if settings.base_data else None
    scale = LogScale.named(settings.rating_scale)
    request = SnapshotRequest(datetime.now(UTC), base, settings.base_fraction, scale.high, rating_min=scale.low)
    store, reason = connect(settings.objects_url), "users were forgotten"
    result = retrain(
        request,
        Params.read(args.params),
        store,
        database,
        remote=connect(settings.dvc_remote) if settings.dvc_remote else None,
        reason=reason,
        force=True,
        commit=settings.commit,
        privacy_key=settings.privacy_key,
    )
    if result.outcome == REFUSED and result.version and args.despite_gate:
        promote(store, result.version, author="privacy", reason=f"{reason}, despite the gate: {result.reason}")
    return f"{result.outcome}: {result.reason}"


def _export(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    from marquee.privacy.user_export import export_held

    with _connect_app(settings) as documents:
        document = export_held(
            database,
            connect(settings.objects_url) if settings.objects_url else None,
            settings.privacy_key,
            args.user,
            export_documents=_bind(documents, "export_user"),
            remote=connect(settings.dvc_remote) if settings.dvc_remote else None,
            base=Path(settings.base_data) if settings.base_data else None,
        )
    return _write(args.output, msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=1).decode())


def _write_page(args: argparse.Namespace, settings: Settings) -> int:
    from marquee.privacy.transparency import measure_weights, render_page
    from marquee.registry.manifest import read_manifest
    from marquee.registry.release import find_last_release

    store = connect(settings.require("objects_url", "database_url").objects_url)
    release = find_last_release(store)
    if release is None:
        raise ReleaseError("nothing serves yet: there is nothing to explain")
    with closing(Database(settings.database_url)) as database:
        weights, users = measure_weights(database)
    manifests = {arm.version: read_manifest(store, arm.version) for arm in release.arms}
    return _write(args.output, render_page(release, manifests, weights, users))


def _write(path: Path | None, text: str) -> int:
    if path:
        path.write_text(text + "\n")
    else:
        print(text)
    return 0


def _replace_user_ids(database: Database, key: str) -> int:
    from marquee.privacy.pseudonyms import replace_user_ids

    changed = replace_user_ids(database, key)
    print(f"replaced user ids in {sum(changed.values()):,} rows of {len(changed)} tables; rows hold pseudonyms now")
    print("`marquee retrain` makes a model with pseudonyms; artifacts and snapshots from before keep user ids")
    return 0


def _show(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    from marquee.privacy import forget_journal

    if args.action == "status":
        for request in forget_journal.list_open(database):
            done = ", ".join(request.done) or "marked"
            print(f"{request.requested:%Y-%m-%d %H:%M:%S}  {request.digest.hex()}  {done}")
        return 0
    found = forget_journal.find_request(database, settings.privacy_key, args.user)
    if found is None or found.receipt is None:
        raise ReceiptRefused("there is no finished request of this user; see `marquee privacy status`")
    print(found.receipt)
    return 0


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    from marquee.privacy.receipts import public_key, verify_receipt

    expected = getattr(args, "public_key", None) or public_key(settings.require("privacy_key").privacy_key)
    if args.action == "public-key":
        print(expected)
        return 0
    try:
        text = sys.stdin.buffer.read() if str(args.file) == "-" else args.file.read_bytes()
    except OSError as error:
        raise ReceiptRefused(f"{args.file} cannot be read: {error.strerror}") from error
    receipt = verify_receipt(text, expected)
    print(f"valid: user {receipt.user} was forgotten at {receipt.finished:%Y-%m-%d %H:%M:%S} UTC")
    return 0
