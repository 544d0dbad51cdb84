"""Tests of policies in the release: numbers, formats, canaries, rollbacks, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.registry.models import make_model, store_model

from marquee.cli.main import main
from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.experiment_steps import end_experiment
from marquee.registry.movie_metadata import MovieMetadata
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import NO_POLICY, Pin, Policy, Quota, ShowWindow, check_policy, decode_policy
from marquee.registry.policy_rollout import set_policy, start_policy_canary
from marquee.registry.release import Release, publish_release, read_current_release
from marquee.registry.rollout import canary, promote, rollback

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(unavailable=("fargo+1996",), cost_weight=0.25)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


def get_policies(store: FileStore) -> list[Policy]:
    return [arm.policy for arm in read_current_release(store)[0].arms]


def test_set_policy_publishes_one_release_with_its_number(store: FileStore) -> None:
    """The number of the policy is that of its release, later releases keep it, and a rollback takes it away."""
    first = store_model(store)
    promote(store, first, author="test")
    release = set_policy(store, POLICY, author="test")
    assert (release.number, release.format, release.arms[0].policy.number) == (2, 3, 2)
    assert set_policy(store, msgspec.structs.replace(POLICY, number=99), author="test").number == 2
    later = promote(store, store_model(store, make_model(seed=2)), author="test")
    assert (later.number, later.arms[0].policy) == (3, release.arms[0].policy)
    back = rollback(store, author="test", to=1)
    assert (back.format, back.arms[0].policy) == (1, NO_POLICY)
    again = rollback(store, author="test", to=2)
    assert (again.format, again.arms[0].policy.number) == (3, 2)


def test_set_policy_no_policy_is_written_as_older_programs_do(store: FileStore) -> None:
    """The document of a release without a policy has no such field, so that older programs read it."""
    promote(store, store_model(store), author="test")
    set_policy(store, POLICY, author="test")
    set_policy(store, NO_POLICY, author="test")
    document = msgspec.json.decode(store.get("releases/current.json").data)
    assert document["format"] == 1
    assert set(document["arms"][0]) == {"name", "version", "weight"}


def test_start_policy_canary_compares_policies_of_one_version(store: FileStore) -> None:
    """Half of the enrolled users get the policy; ending the experiment keeps the policy of the arm that is kept."""
    version = store_model(store)
    promote(store, version, author="test")
    release = start_policy_canary(store, POLICY, weight=0.1, name="fewer-costs", author="test")
    assert (release.enrolled, release.experiment, release.format) == (0.2, "fewer-costs", 3)
    assert [arm.version for arm in release.arms] == [version, version]
    assert get_policies(store) == [NO_POLICY, msgspec.structs.replace(POLICY, number=2)]
    with pytest.raises(ReleaseError, match="compares policies"):
        set_policy(store, Policy(cost_weight=1), author="test")
    ended = end_experiment(store, "fewer-costs", keep="canary", author="test")
    assert (ended.arms[0].policy.number, ended.arms[0].weight) == (2, 1.0)
    assert rollback(store, author="test").arms[0].policy == NO_POLICY


def test_set_policy_during_an_experiment_of_versions_holds_for_all_arms(store: FileStore) -> None:
    """A movie can be hidden at once while a canary runs; the experiment goes on."""
    promote(store, store_model(store), author="test")
    running = canary(store, store_model(store, make_model(seed=2)), weight=0.1, author="test")
    release = set_policy(store, POLICY, author="test")
    assert (release.experiment, release.salt, release.enrolled) == (running.experiment, running.salt, running.enrolled)
    assert get_policies(store) == [msgspec.structs.replace(POLICY, number=3)] * 2
    with pytest.raises(ReleaseError, match="its arms have one policy"):
        publish_release(store, _change_second_policy)


def _change_second_policy(before: Release | None) -> Release:
    assert before is not None
    first, second = before.arms
    arms = (first, Arm(second.name, second.version, second.weight, Policy(cost_weight=1)))
    return msgspec.structs.replace(before, arms=arms)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(assumed_age=-1), "assumed_age is -1; it must lie between 0 and 120"),
        (Policy(cost_weight=float("nan")), "cost_weight is nan"),
        (Policy(explore_epsilon=1.5), "explore_epsilon is 1.5; it must lie between 0 and 1"),
        (Policy(pins=(Pin("a", 0),)), "a is pinned at 0; positions lie between 1 and 100"),
        (Policy(windows=(ShowWindow("a", datetime(2026, 1, 1)),)), "need a zone"),
        (Policy(windows=(ShowWindow("a", NOW, NOW),)), "before it begins"),
        (Policy(quotas=(Quota("genre", ("war",), 0.6), Quota("genre", ("drama",), 0.6))), "add up to more than 1"),
        (Policy(quotas=(Quota("genre", (), 0.5),)), "a quota of genre has no values"),
    ],
)
def test_check_policy_invalid_value_raises_with_what_is_valid(policy: Policy, message: str) -> None:
    """The error names the value and its bounds."""
    with pytest.raises(ReleaseError) as raised:
        check_policy(policy)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"cost_wieght": 1}', b'{"quotas": [{"attribute": "age"}]}', b"\xff"]
)
def test_decode_policy_malformed_document_raises(document: bytes) -> None:
    """Unknown fields are errors, because a misspelled rule would not hold."""
    with pytest.raises(ReleaseError, match="is not a policy"):
        decode_policy(document, "policy.json")


def test_policy_commands_show_check_and_set(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``check`` changes nothing and warns; ``set`` publishes; ``show`` prints the policy of each arm."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{store.root}")
    promote(store, store_model(store), author="test")
    file = tmp_path / "policy.json"
    file.write_bytes(msgspec.json.encode(Policy(unavailable=("no+such+2000",), age_from_account=True)))
    assert main(["policy", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "the policy is valid" in out
    assert "warning: 1 movies are unknown to the model: no+such+2000" in out
    assert "have no age rating; they are never shown" in out
    assert get_policies(store) == [NO_POLICY]
    assert main(["policy", "set", str(file), "--reason", "rights ended"]) == 0
    assert capsys.readouterr().out == "release 2 serves policy 2\n"
    assert main(["policy", "show"]) == 0
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert shown["policies"]["control"]["unavailable"] == ["no+such+2000"]
    assert main(["policy", "set", str(file), "--canary", "0"]) == 1
    assert "must be above 0 and at most 0.5; got 0.0" in capsys.readouterr().err
    file.write_bytes(b'{"cost_weight": -1}')
    assert main(["policy", "set", str(file)]) != 0
    assert "cost_weight is -1" in capsys.readouterr().err


def test_policy_check_quota_values_are_compared_without_case(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lists do: FR counts the movies of fr, and only a country that no movie has is warned of."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{store.root}")
    model = make_model()
    metadata = MovieMetadata(countries=("fr",) * len(model.movie_ids))
    promote(store, store_model(store, replace(model, metadata=metadata)), author="test")
    file = tmp_path / "policy.json"
    for country, warned in (("FR", False), ("it", True)):
        file.write_bytes(msgspec.json.encode(Policy(quotas=(Quota("country", (country,), 0.3),))))
        assert main(["policy", "check", str(file)]) == 0
        assert (f"no movie has country {country}" in capsys.readouterr().out) is warned


def test_policy_check_pins_at_one_position_are_warned_of(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only one of them is shown; pins whose times do not overlap are no mistake."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{store.root}")
    promote(store, store_model(store), author="test")
    file = tmp_path / "policy.json"
    for until, warned in ((None, True), (NOW, False)):
        file.write_bytes(msgspec.json.encode(Policy(pins=(Pin("a", 3), Pin("b", 3, until=until), Pin("c", 4)))))
        assert main(["policy", "check", str(file)]) == 0
        assert ("several movies are pinned now at 3" in capsys.readouterr().out) is warned
