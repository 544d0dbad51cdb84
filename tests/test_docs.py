"""The documents say what is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from marquee.cli.main import VERBS

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\0")[:-1]
PAGES = [name for name in TRACKED if name.endswith(".md")]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page names a file or folder that is there."""
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert missing == []


def test_pages_name_only_targets_and_verbs_that_exist() -> None:
    pages = "".join((ROOT / page).read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", pages, re.M)) <= targets
    assert set(re.findall(r"(?:^|`|bin/)marquee ([a-z]+)", pages, re.M)) <= set(VERBS)


def test_every_make_target_explains_itself() -> None:
    """``make`` alone lists all that a person can do."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(re.findall(r"^  make ([a-z-]+)", listed.stdout, re.M)) == sorted(phony[1].split())


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from marquee.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: marquee {verb}")
    assert len(shown.splitlines()) > 5, "more than its usage line"


def test_requirements_are_pinned_with_hashes_and_name_no_host() -> None:
    """A requirements file works behind any mirror, and installs the very files that were tested."""
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert not re.search(r"https?://|file:|--index|--find-links|--trusted", text), path.name
        names = re.findall(r"^[A-Za-z0-9]\S*", text, re.M)
        assert names, path.name
        assert all("==" in name for name in names), path.name
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
        assert all("--hash=sha256:" in entry for entry in entries), path.name


def test_no_tracked_file_is_large() -> None:
    """Data is fetched, never committed."""
    large = [name for name in TRACKED if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 1_000_000]
    assert large == []
