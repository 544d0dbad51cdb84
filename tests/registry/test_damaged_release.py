"""Tests of the registry beside a ``releases/current.json`` that is damaged, put back by hand or gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.registry.damaged_documents import DAMAGES, damage_current
from tests.registry.models import AUTHOR, make_model, store_model
from tests.support.dying_store import DyingStore

from marquee.cli.main import main
from marquee.errors import ObjectStoreUnavailable, ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import (
    CURRENT,
    PAUSED,
    Release,
    UnusableRelease,
    find_serving_release,
    iter_releases,
    list_numbers,
    new_release,
    publish_release,
    read_current_release,
    read_release,
)
from marquee.registry.release_history import ReleaseHistory
from marquee.registry.release_rules import MAX_NUMBER
from marquee.registry.rollout import promote, repair_current_release, rollback

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def versions(file_store: ObjectStore) -> list[str]:
    """Two versions, released as 1 and 2."""
    versions = [store_model(file_store), store_model(file_store, make_model(seed=1))]
    for version in versions:
        promote(file_store, version, **AUTHOR)
    return versions


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs ``marquee release`` and returns exit code, output and errors."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (tmp_path / "objects").as_uri())

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["release", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def _serve(version: str, after: Release | None) -> Release:
    return new_release((Arm("control", version, 1.0),), author="test", reason=version, after=after)


@pytest.mark.parametrize("kind", DAMAGES)
def test_read_current_release_damaged_document_is_unusable(
    file_store: ObjectStore, versions: list[str], kind: str
) -> None:
    """The error names the document, and what serves is found without it."""
    damage_current(file_store, kind)
    with pytest.raises(UnusableRelease, match=CURRENT):
        read_current_release(file_store)
    serving = find_serving_release(file_store)
    assert serving == read_release(file_store, 2)


@pytest.mark.parametrize("kind", DAMAGES)
def test_publish_over_damaged_document_replaces_it(file_store: ObjectStore, versions: list[str], kind: str) -> None:
    """The next number follows the newest whole release."""
    damage_current(file_store, kind)
    published = promote(file_store, versions[0], **AUTHOR)
    assert (published.number, published.previous) == (3, 2)
    assert read_current_release(file_store)[0] == published


@pytest.mark.parametrize("kind", DAMAGES)
def test_release_commands_beside_damaged_document_work(
    file_store: ObjectStore,
    versions: list[str],
    run: Run,
    kind: str,
) -> None:
    """List, show and rollback need numbered documents only; repair restores the newest."""
    damage_current(file_store, kind)
    code, out, err = run("list", "--json")
    assert (code, [r["number"] for r in json.loads(out)], err) == (0, [2, 1], "")
    code, out, err = run("list")
    assert code == 0
    assert "*" not in out
    assert "`marquee release repair` makes it current" in err
    assert run("show", "1")[0] == 0
    code, _, err = run("show")
    assert code == 1
    assert CURRENT in err
    assert "marquee release repair" in err
    code, out, _ = run("repair")
    assert (code, out) == (0, f"{CURRENT} was restored: release 2 serves {versions[1]}\n")
    assert read_current_release(file_store)[0].number == 2
    assert run("repair")[1] == f"{CURRENT} needs no repair: release 2 serves {versions[1]}\n"
    damage_current(file_store, kind)
    assert run("rollback", "--to", "1")[1] == f"release 3 serves {versions[0]}\n{PAUSED}\n"


def test_rollback_to_newest_beside_damaged_document_restores_it(file_store: ObjectStore, versions: list[str]) -> None:
    """It is not current, so it may be restored; nothing new is published."""
    damage_current(file_store, "truncated")
    assert rollback(file_store, to=2, **AUTHOR).number == 2
    assert read_current_release(file_store)[0].number == 2
    assert list_numbers(file_store) == [1, 2]


@pytest.mark.parametrize("newest", [b"", b"{", None])
def test_list_with_damaged_or_missing_numbers_leaves_them_out(
    file_store: ObjectStore,
    versions: list[str],
    run: Run,
    newest: bytes | None,
) -> None:
    """A lifecycle rule of the bucket may have deleted documents; rollback to another number works."""
    promote(file_store, versions[0], **AUTHOR)
    file_store.delete("releases/2.json")
    if newest is not None:
        file_store.put_new("releases/2.json", newest)
    assert [r.number for r in iter_releases(file_store)] == [3, 1]
    assert run("show", "2")[0] == 1
    assert run("rollback", "--to", "1")[0] == 0
    history = ReleaseHistory(file_store)
    history.refresh()
    assert [r.number for r in history.at(read_current_release(file_store)[0].created)] == [4, 3, 1]


def test_read_current_release_without_own_number_is_valid(file_store: ObjectStore, versions: list[str]) -> None:
    """The current document is whole, whatever was deleted of the others."""
    file_store.delete("releases/2.json")
    assert read_current_release(file_store)[0].number == 2
    file_store.delete("releases/1.json")
    assert read_current_release(file_store)[0].number == 2
    assert promote(file_store, versions[0], **AUTHOR).number == 3


def test_release_history_beside_damaged_document_has_all_numbers(file_store: ObjectStore, versions: list[str]) -> None:
    """The monitor goes on, and follows the document once it is repaired."""
    damage_current(file_store, "Latin-1 byte")
    history = ReleaseHistory(file_store)
    history.refresh()
    newest = read_release(file_store, 2)
    assert [r.number for r in history.at(newest.created)] == [2, 1]
    published = promote(file_store, versions[0], **AUTHOR)
    history.refresh()
    assert [r.number for r in history.at(published.created)] == [3, 2, 1]


def test_publish_refused_after_document_was_put_back_changes_nothing(
    file_store: ObjectStore, versions: list[str]
) -> None:
    """Completing an interrupted publication is part of a publication, never of a refusal."""
    document = file_store.get(CURRENT)
    put_back = file_store.replace(CURRENT, file_store.get("releases/1.json").data, document.version)

    def refuse(before: Release | None) -> Release:
        raise ReleaseError("refused in this test")

    with pytest.raises(ReleaseError, match="refused in this test"):
        publish_release(file_store, refuse)
    assert file_store.get(CURRENT).version == put_back
    assert list_numbers(file_store) == [1, 2]


@pytest.mark.parametrize("kind", ["truncated", "number 99"])
def test_publish_refused_beside_damaged_document_changes_nothing(
    file_store: ObjectStore, versions: list[str], kind: str
) -> None:
    """A refused canary leaves even the damage as it was."""
    damaged = damage_current(file_store, kind)

    def refuse(before: Release | None) -> Release:
        raise ReleaseError("refused in this test")

    with pytest.raises(ReleaseError, match="refused in this test"):
        publish_release(file_store, refuse)
    assert file_store.get(CURRENT).data == damaged


def test_publish_unchanged_beside_damaged_document_restores_it(file_store: ObjectStore, versions: list[str]) -> None:
    """Promoting what the newest whole release serves makes that release current again."""
    damage_current(file_store, "comma appended")
    assert promote(file_store, versions[1], **AUTHOR).number == 2
    assert read_current_release(file_store)[0].number == 2


def test_publish_newer_format_is_not_replaced(file_store: ObjectStore, versions: list[str]) -> None:
    """An old program must not undo the release of a newer one."""
    document = file_store.get(CURRENT)
    file_store.replace(CURRENT, b'{"format":5}', document.version)
    with pytest.raises(ReleaseError, match="format 5; this program reads format 4"):
        promote(file_store, versions[0], **AUTHOR)
    assert file_store.get(CURRENT).data == b'{"format":5}'


def test_publish_with_damaged_number_takes_the_one_after(file_store: ObjectStore, versions: list[str]) -> None:
    """A claimed number whose document is damaged does not stop publishers."""
    file_store.put_new("releases/3.json", b"{")
    assert promote(file_store, versions[0], **AUTHOR).number == 4
    assert read_current_release(file_store)[0].number == 4


def test_publish_numbers_out_of_range_are_ignored(file_store: ObjectStore, versions: list[str]) -> None:
    """Objects that only look like releases count for nothing."""
    for name in (f"releases/{2**70}.json", "releases/-5.json", "releases/07.json", f"releases/{2**31}.json"):
        file_store.put_new(name, b"{}")
    assert list_numbers(file_store) == [1, 2]
    assert promote(file_store, versions[0], **AUTHOR).number == 3


def test_publish_after_largest_number_raises(file_store: ObjectStore, versions: list[str]) -> None:
    """The database's integer is the bound."""
    file_store.put_new(f"releases/{MAX_NUMBER}.json", b"{}")
    with pytest.raises(ReleaseError, match=f"between 1 and {MAX_NUMBER}"):
        promote(file_store, versions[0], **AUTHOR)


def test_read_release_of_another_number_is_unusable(file_store: ObjectStore, versions: list[str]) -> None:
    """A copy of release 1 under the name of release 3 is not release 3."""
    file_store.put_new("releases/3.json", file_store.get("releases/1.json").data)
    with pytest.raises(UnusableRelease, match="holds release 1, not 3"):
        read_release(file_store, 3)


def test_repair_without_whole_release_says_what_to_do(file_store: ObjectStore) -> None:
    """There is nothing to restore."""
    file_store.put_new(CURRENT, b"{")
    with pytest.raises(ReleaseError, match="promote VERSION"):
        repair_current_release(file_store)


def test_publish_killed_over_damaged_document_is_finished_by_the_next(
    file_store: ObjectStore, versions: list[str]
) -> None:
    """Damage and an interrupted publication at once."""
    damage_current(file_store, "truncated")
    with pytest.raises(ObjectStoreUnavailable):
        publish_release(DyingStore(file_store, at=CURRENT), lambda last: _serve(versions[0], last))
    assert [r.number for r in iter_releases(file_store)] == [3, 2, 1]
    assert publish_release(file_store, lambda last: _serve(versions[1], last)).number == 4
    assert read_current_release(file_store)[0].previous == 3


def test_release_history_created_ahead_of_the_clock_starts_when_it_was_stored(
    file_store: ObjectStore, versions: list[str]
) -> None:
    """A publisher's clock that is a year ahead must not hide a release for a year."""

    def publish(last: Release | None) -> Release:
        ahead = datetime.now(UTC) + timedelta(days=365)
        return msgspec.structs.replace(_serve(versions[0], last), created=ahead)

    publish_release(file_store, publish)
    publish_release(file_store, lambda last: _serve(versions[1], last))
    history = ReleaseHistory(file_store)
    history.refresh()
    assert [r.number for r in history.at(datetime.now(UTC))] == [4, 3, 2, 1]
