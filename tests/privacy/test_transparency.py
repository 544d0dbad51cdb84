"""The transparency page: weights known by construction, and what the release, manifest and policy say."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from tests.serving.models import release_model, two_group_model

from marquee.cli.main import main
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie
from marquee.ingest.store import write_impressions
from marquee.privacy.transparency import measure_weights, render_page
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Policy, Quota
from marquee.registry.release import read_current_release


def write_reasons(database: Database, *reasons_of_users: tuple[str, ...]) -> None:
    impressions = [
        Impression(
            f"i{n}",
            datetime.now(UTC),
            f"u{n}",
            "control",
            "v",
            1,
            "personalised",
            tuple(ImpressionMovie(f"m{i}+1990", 1.0, None, 1.0, i, reason) for i, reason in enumerate(reasons)),
        )
        for n, reasons in enumerate(reasons_of_users)
    ]
    write_impressions(database, ImpressionBatch("b", tuple(impressions)))


def test_measure_weights_are_shares_of_main_reasons(plain_database: Database) -> None:
    """Ids of movies count as history; the interval over users holds the share, and is none where users agree."""
    write_reasons(plain_database, *[("up+2009", "up+2009", "popularity", "pin")] * 3, ("up+2009", "", "cohort", "pin"))
    weights, users = measure_weights(plain_database)
    assert users == 4
    assert {w.kind: w.share for w in weights} == {
        "history": 7 / 16,
        "popularity": 3 / 16,
        "pin": 4 / 16,
        "cohort": 1 / 16,
        "other": 1 / 16,
    }
    by_kind = {w.kind: w for w in weights}
    assert (by_kind["pin"].low, by_kind["pin"].high) == (0.25, 0.25)
    # Users have 2, 2, 2 and 1 of 4: the standard error of the mean share is 0.0625.
    assert by_kind["history"].high - by_kind["history"].share == pytest.approx(1.96 * 0.0625)
    assert measure_weights(plain_database)[0][0].kind == "history"


def test_render_page_says_what_release_and_policy_say(store: FileStore) -> None:
    """Model, rules and ways to change it are on the page; without impressions no weight is claimed."""
    version = release_model(store, two_group_model())
    release, _ = read_current_release(store)
    policy = Policy(1, age_from_account=True, assumed_age=12, quotas=(Quota("country", ("FR",), 0.3),))
    arms = tuple(msgspec.structs.replace(arm, policy=policy) for arm in release.arms)
    release = msgspec.structs.replace(release, arms=arms)
    page = render_page(release, {arms[0].version: read_manifest(store, arms[0].version)}, [], 0)
    for text in ("no weight could be measured", "6 users and 60 movies", "above 12 if", "30% of a list: country FR"):
        assert text in page, text
    assert "profile=off" in page
    assert version


def test_privacy_transparency_writes_the_page(
    plain_database: Database, store: FileStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command joins release and impressions; without a release it says so."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", plain_database.url)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{store.root}")
    assert main(["privacy", "transparency"]) == 1
    assert "nothing serves yet" in capsys.readouterr().err
    release_model(store, two_group_model())
    write_reasons(plain_database, ("up+2009", "popularity"))
    assert main(["privacy", "transparency"]) == 0
    assert "| what is popular now | 50.0% |" in capsys.readouterr().out
