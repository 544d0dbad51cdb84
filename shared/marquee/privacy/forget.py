"""Execution of erasure requests in steps, which resumes after a kill at any moment.

The mark comes first. Once it is committed, no new data of the users are stored; within a second, none are read for a
list. Every step is idempotent, and the journal records the finished ones. All open requests share their steps, so that
a hundred users need only one retraining.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from marquee.db.pool import Database
from marquee.errors import ForgetIncomplete
from marquee.privacy import forget_journal, learned_models, log_files, personal_tables
from marquee.privacy.forget_journal import ForgetRequest
from marquee.privacy.receipts import Receipt, sign_receipt
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import find_last_release

_MAX_SWEEPS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Places that hold personal data, and the actions that remove them.

    - ``retrain``: releases a model without the marked users, and returns the outcome as a sentence
    - ``remote``: DVC remote with the snapshots, if there is one
    - ``erase_documents``: deletes a user's documents of the app, and returns the number deleted by collection
    - ``logs``: directories of log files
    - ``grace_s``: seconds for which instances may still read the artifact of the previous release
    - ``remains``: returns the places that are known to keep data of the given users, with the reasons
    """

    database: Database
    store: ObjectStore
    retrain: Callable[[], str]
    remote: ObjectStore | None = None
    erase_documents: Callable[[str], dict[str, int]] | None = None
    logs: tuple[Path, ...] = ()
    grace_s: float = 0.0
    remains: Callable[[Sequence[str]], tuple[str, ...]] = lambda _: ()


class Forgetting:
    """One run over all open requests. ``key`` is the secret ``privacy_key`` of the marks and the receipts."""

    def __init__(self, places: Places, key: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._places, self._key, self._wait = places, key, wait
        self._steps: dict[str, Callable[[Sequence[ForgetRequest]], None]] = {
            "documents": self._erase_documents,
            "rows": self._delete_rows,
            "logs": self._redact_logs,
            "models": self._replace_models,
            "snapshots": self._delete_snapshots,
            "swept": self._sweep,
        }

    def run(self) -> list[str]:
        """Finish all open requests, and return their receipts, each one line of JSON.

        Raises :class:`ForgetIncomplete` if a step cannot finish now. Calling it again resumes at that step.
        """
        receipts: list[str] = []
        while forget_journal.list_open(self._places.database):
            for step, act in self._steps.items():
                due = [r for r in forget_journal.list_open(self._places.database) if step not in r.done]
                if due:
                    _log.info("forgetting %d users: %s", len(due), step)
                    act(due)
                    forget_journal.end_step(self._places.database, due, step)
            complete = [
                r for r in forget_journal.list_open(self._places.database) if self._steps.keys() <= r.done.keys()
            ]
            receipts += [self._finish(request) for request in complete]
        return receipts

    def _erase_documents(self, due: Sequence[ForgetRequest]) -> None:
        if self._places.erase_documents is not None:
            for user in [request.user_id for request in due if request.user_id is not None]:
                forget_journal.add_counts(self._places.database, user, self._places.erase_documents(user))

    def _delete_rows(self, due: Sequence[ForgetRequest]) -> None:
        personal_tables.delete_rows(self._places.database, _names(due))

    def _redact_logs(self, due: Sequence[ForgetRequest]) -> None:
        for user, n in log_files.redact_logs(self._places.logs, _names(due)).items():
            forget_journal.add_counts(self._places.database, user, {"logs": n})

    def _replace_models(self, due: Sequence[ForgetRequest]) -> None:
        """Release a model without the users, then delete the artifacts of models that were trained on their data."""
        store = self._places.store
        planned = {version for request in due for version in request.plan.get("versions", ())}
        versions = planned | set(learned_models.find_learned(store, _names(due)))
        if not versions:
            return
        forget_journal.set_plan(self._places.database, due, "versions", sorted(versions))
        if learned_models.find_serving(store) & versions:
            outcome = self._places.retrain()
            if still := learned_models.find_serving(store) & versions:
                raise ForgetIncomplete(
                    f"{', '.join(sorted(still))} was trained on data of a forgotten user and still serves: {outcome}. "
                    "End the running experiment, or pass --despite-gate, then run `marquee privacy resume`"
                )
        self._wait_for_instances()
        learned_models.delete_artifacts(store, sorted(versions))

    def _wait_for_instances(self) -> None:
        release = find_last_release(self._places.store)
        if release is not None:
            age_s = (datetime.now(UTC) - release.created).total_seconds()
            if age_s < self._places.grace_s:
                self._wait(self._places.grace_s - max(age_s, 0.0))

    def _delete_snapshots(self, due: Sequence[ForgetRequest]) -> None:
        if self._places.remote is not None:
            learned_models.delete_snapshots(self._places.remote, _names(due))

    def _sweep(self, due: Sequence[ForgetRequest]) -> None:
        """Search every place again, because writes under way when the users were marked may have finished since."""
        users, places = _names(due), self._places
        for _ in range(_MAX_SWEEPS):
            self._erase_documents(due)
            self._delete_rows(due)
            self._redact_logs(due)
            if learned_models.find_learned(places.store, users):
                self._replace_models(due)
            self._delete_snapshots(due)
            if not (
                personal_tables.count_rows(places.database, users) or learned_models.find_learned(places.store, users)
            ):
                return
        raise ForgetIncomplete(
            f"data of forgotten users reappeared in each of {_MAX_SWEEPS} sweeps: a writer ignores the marks. "
            "Stop writers of an earlier version, then run `marquee privacy resume`"
        )

    def _finish(self, request: ForgetRequest) -> str:
        """Sign and store the receipt, and remove the user id from the journal; return the receipt."""
        assert request.user_id is not None
        finished = datetime.now(UTC)
        receipt = Receipt(
            user=request.digest.hex(),
            requested=request.requested,
            finished=finished,
            steps=request.done,
            removed=request.counts,
            deleted=tuple(request.plan.get("versions", ())),
            serving=tuple(sorted(learned_models.find_serving(self._places.store))),
            remains=self._places.remains([request.user_id]),
        )
        text = sign_receipt(receipt, self._key)
        forget_journal.finish(self._places.database, request, text, finished)
        return text


def _names(requests: Sequence[ForgetRequest]) -> list[str]:
    return [name for request in requests for name in request.names]
