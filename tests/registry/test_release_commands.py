"""Tests of the ``marquee release`` command."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from tests.registry.models import THROUGH, make_model, overwrite, store_model

from marquee.cli.main import main
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import Metric, Provenance
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import PAUSED

Call = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs ``marquee release`` on the store of ``file_store`` and returns its output."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (tmp_path / "objects").as_uri())

    def run(*words: str, code: int = 0) -> str:
        assert main(["release", *words]) == code
        out, err = capsys.readouterr()
        assert (out if code else err) == ""
        return err if code else out

    return run


@pytest.fixture
def versions(file_store: ObjectStore) -> list[str]:
    metrics = {"rmse": Metric(0.93712, 0.921, 0.954), "coverage": Metric(0.5)}
    first = write_artifact(
        file_store,
        make_model(),
        trained_through=THROUGH,
        metrics=metrics,
        provenance=Provenance(trainer="surprise_svd"),
    )
    return [first, store_model(file_store, make_model(seed=1))]


def test_release_empty_store_says_what_to_do_first(call: Call) -> None:
    """Listing succeeds, the other actions fail."""
    assert "`marquee retrain` makes one" in call("list")
    assert json.loads(call("list", "--json")) == []
    assert "no release yet" in call("show", code=1)
    assert "no release yet" in call("rollback", code=1)


def test_release_promote_list_and_rollback_print_what_serves(call: Call, versions: list[str]) -> None:
    """The list has the newest release first and marks it."""
    one, other = versions
    assert call("promote", one, "--author", "ann") == f"release 1 serves {one}\n"
    assert call("promote", other, "--author", "bob", "--reason", "better RMSE") == f"release 2 serves {other}\n"
    assert call("rollback", "--author", "ann") == f"release 3 serves {one}\n{PAUSED}\n"
    head, *rows = call("list").splitlines()
    assert head.split() == ["RELEASE", "CREATED", "(UTC)", "ARMS", "AUTHOR", "REASON"]
    assert [row.split()[0] for row in rows] == ["*", "2", "1"]
    assert rows[1].endswith(f"{other}  bob     better RMSE")
    assert len({row.index(v) for row, v in zip(rows, (one, other, one), strict=True)}) == 1
    assert len(call("list", "--limit", "1").splitlines()) == 2
    assert call("rollback", "--to", "2") == f"release 4 serves {other}\n{PAUSED}\n"


def test_release_json_option_prints_documents(call: Call, versions: list[str]) -> None:
    """Every action prints a document for programs."""
    published = json.loads(call("promote", versions[0], "--json"))
    assert published["number"] == 1
    assert published["arms"] == [{"name": "control", "version": versions[0], "weight": 1.0, "policy": {}}]
    assert datetime.fromisoformat(published["created"]).tzinfo is not None
    assert published["author"]
    assert json.loads(call("list", "--json")) == [published]
    shown = json.loads(call("show", "--json"))
    assert shown["release"] == published
    assert shown["artifacts"][versions[0]]["metrics"]["rmse"]["value"] == 0.93712


def test_release_canary_and_show_print_each_arm(call: Call, versions: list[str]) -> None:
    """Each arm with its weight and the summary of its artifact."""
    one, other = versions
    call("promote", one)
    assert "canary 0.1 " + other in call("canary", other, "--weight", "0.1", "--reason", "try it")
    shown = call("show")
    for expected in (
        "release   2\n",
        "reason    try it\n",
        "previous  1\n",
        "arm control: 10.00% of the users",
        "20.00% of the users take part",
        "arm canary: 10.00% of the users",
        f"version          {one}",
        "trained through  1998-04-01 12:30:05 UTC",
        "trainer          surprise_svd",
        "size             7 users, 30 movies, ",
        "rmse             0.9371 [0.9210, 0.9540]",
        "coverage         0.5000\n",
    ):
        assert expected in shown
    assert "release   1\n" in call("show", "1")
    assert "no release 9" in call("show", "9", code=1)


def test_split_serves_the_named_arms(call: Call, versions: list[str]) -> None:
    """Each ARM=VERSION:WEIGHT becomes an arm; the weights have to sum to 1 and the names to differ."""
    one, other = versions
    printed = call("split", f"a={one}:0.75", f"b={other}:0.25", "--reason", "A/B test")
    assert printed == f"release 1 serves a 0.75 {one}, b 0.25 {other}\n"
    assert "sum to 1" in call("split", f"a={one}:0.75", f"b={other}:0.5", code=1)
    assert "name of its own" in call("split", f"a={one}:0.5", f"a={other}:0.5", code=1)
    assert json.loads(call("list", "--json"))[0]["reason"] == "A/B test"


@pytest.mark.parametrize("arm", ["a", "a=v", "a=v:", "a=:0.5", "=v:0.5", "a=v:half"])
def test_split_malformed_arm_is_refused_with_the_form(arm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse's exit code, and the form that is valid."""
    with pytest.raises(SystemExit, match="2"):
        main(["release", "split", arm])
    assert "use ARM=VERSION:WEIGHT" in capsys.readouterr().err


def test_release_refused_change_exits_with_1(call: Call, versions: list[str], file_store: ObjectStore) -> None:
    """One sentence, and nothing changes."""
    call("promote", versions[0])
    assert "no artifact 'nonsense'" in call("promote", "nonsense", code=1)
    overwrite(file_store, versions[1], "popularity.npy", b"")
    assert f"{versions[1]} was not released" in call("promote", versions[1], code=1)
    assert "between 0 and 1" in call("canary", versions[0], "--weight", "1", code=1)
    assert "no previous release" in call("rollback", code=1)
    assert len(json.loads(call("list", "--json"))) == 1


def test_release_show_with_unusable_artifact_says_why(call: Call, versions: list[str], file_store: ObjectStore) -> None:
    """The release is shown with the reason."""
    call("promote", versions[0])
    call("promote", versions[1])
    overwrite(file_store, versions[0], "manifest.json", b"{")
    assert "not usable       the manifest of artifact" in call("show", "1")


@pytest.mark.parametrize("words", [["nothing"], ["list", "--limit", "0"], ["rollback", "--to", "-1"], ["promote"]])
def test_release_wrong_arguments_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code and the usage of argparse."""
    with pytest.raises(SystemExit, match="2"):
        main(["release", *words])
    assert "usage: marquee release" in capsys.readouterr().err


def test_release_without_store_setting_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the variable."""
    monkeypatch.delenv("MARQUEE_OBJECTS_URL", raising=False)
    assert main(["release", "list"]) == 1
    assert "MARQUEE_OBJECTS_URL is not set" in capsys.readouterr().err


def test_release_documented_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/artifacts.md lists every action, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "artifacts.md").read_text()
    documented = [line.split()[2] for line in page.splitlines() if line.startswith("marquee release ")]
    with pytest.raises(SystemExit, match="0"):
        main(["release", "--help"])
    lines = capsys.readouterr().out.splitlines()
    # Actions are indented by four blanks, continued help texts by more.
    shown = [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "]
    assert documented == shown
    assert len(documented) == 8


def test_artifact_files_are_documented(file_store: ObjectStore) -> None:
    """docs/artifacts.md names every object of an artifact."""
    page = (Path(__file__).parents[2] / "docs" / "artifacts.md").read_text()
    version = store_model(file_store)
    assert all(name.rpartition("/")[2] in page for name in file_store.list(f"models/{version}/"))
