"""The documents agree with the code, and their links, commands and generated sections with the repository."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC
from pathlib import Path

import pytest
from docs.code_map import LIBRARY, architecture_page, import_layers

from marquee.cli.commands import find_verb
from marquee.events.kinds import AccountCreated, Rating, RecommendationRequest, Watch
from marquee.events.parser import EventParser

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
    "\0"
)[:-1]
PAGES = [name for name in TRACKED if name.endswith(".md")]
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
RECIPES = re.split(r"^## ", (ROOT / "docs/extending.md").read_text(), flags=re.M)[1:]


@pytest.mark.parametrize("page", PAGES)
def test_page_relative_links_exist(page: str) -> None:
    """Every relative link of a page names a file or directory of the repository."""
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_page_links_to_sections_exist(page: str) -> None:
    """A link with a fragment names a heading of its page, as GitHub derives anchors."""
    text = (ROOT / page).read_text()
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", text):
        linked = ROOT / page if not target else (ROOT / page).parent / target
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page} links to {target}#{anchor}"


def test_code_references_to_pages_exist() -> None:
    """A docstring or comment that names a page of ``docs`` names one that is there."""
    sources = [name for name in TRACKED if name.endswith((".py", ".yaml", ".yml", ".sql", ".tf", ".sh"))]
    missing = []
    for name in sources:
        if (ROOT / name).is_file():
            pages = re.findall(r"(?<![\w/])docs/[\w/-]+\.(?:md|svg)", (ROOT / name).read_text())
            missing += [f"{name}: {page}" for page in pages if not (ROOT / page).exists()]
    assert missing == []


def test_pages_commands_exist() -> None:
    """Pages name existing targets of the Makefile and verbs of ``marquee``."""
    pages = "".join((ROOT / page).read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", pages, re.M)) <= targets
    for words in re.findall(r"(?:^|`|bin/)marquee ((?:[a-z]+ ?)+)", pages, re.M):
        find_verb(words.split())


def test_make_without_target_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(re.findall(r"^  make ([a-z-]+)", listed.stdout, re.M)) == sorted(phony[1].split())


def test_architecture_page_generated_sections_are_current() -> None:
    """``make docs`` has been run since the import contract or a package's docstring changed."""
    assert architecture_page() == (ROOT / "docs/architecture.md").read_text()


def test_picture_names_every_function_and_the_main_jobs() -> None:
    """The picture of the README and of the architecture page shows the parts that exist."""
    picture = (ROOT / "docs/flow.svg").read_text()
    functions = [path.parent.name for path in (ROOT / "functions").glob("*/main.py")]
    assert functions
    for name in [*functions, "bridge", "retrain"]:
        assert f">{name}</text>" in picture
    assert (ROOT / "jobs/bridge").is_dir()
    assert (ROOT / "jobs/retrain").is_dir()


def test_import_layers_name_every_package() -> None:
    """The layers are those of the tree: a new package needs a place in the contract."""
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    modules = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__", "__main__"}
    named = [name for layer in import_layers() for name in layer]
    assert sorted(named) == sorted(packages | modules)


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_record_has_the_form_and_its_index_entry(path: Path) -> None:
    """Status, context, decision and consequences in this order; the index has its number, title and status."""
    text, number = path.read_text(), path.name[:4]
    title = re.match(rf"# {number} (.+)\n", text)
    status = re.search(r"^\*\*Status\.\*\* (\w+), \d{4}-\d\d-\d\d", text, re.M)
    assert title
    assert status
    assert re.findall(r"^## (\w+)$", text, re.M) == ["Context", "Decision", "Consequences"]
    row = f"| [{number}]({path.name}) | {title[1]} | {status[1].lower()}"
    assert row in (ROOT / "docs/decisions/README.md").read_text()


def test_decision_index_explains_every_number() -> None:
    """Numbers run without a gap; one without a record says why."""
    index = (ROOT / "docs/decisions/README.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\| \[?(\d{4})", index, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(DECISIONS)


def test_extending_recipes_are_complete() -> None:
    """Each kind of extension has a recipe of numbered steps."""
    headings = [recipe.splitlines()[0].lower() for recipe in RECIPES]
    for kind in ("trainer", "ranker", "event kind", "table", "setting", "alert", "panel"):
        assert [heading for heading in headings if heading.startswith("add") and heading.endswith(kind)], kind


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.splitlines()[0])
def test_extending_recipe_files_exist(recipe: str) -> None:
    """Every path that a recipe names exists; a placeholder such as ``<name>`` stands for a new file."""
    assert re.findall(r"^(\d+)\. ", recipe, re.M)[:2] == ["1", "2"]
    paths = [text for text in re.findall(r"`([^`\s]+)`", recipe) if re.search(r"/|\.(?:py|ya?ml|md)$", text)]
    paths = [path for path in paths if not re.search(r"[<>:*(]", path)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_glossary_terms_are_unique_and_linked_from_the_readme() -> None:
    terms = re.findall(r"^\| ([a-zA-Z][^|]*?) \| ", (ROOT / "docs/glossary.md").read_text(), re.M)
    terms = [term for term in terms if term != "term"]
    assert len(terms) == len(set(terms)) > 50
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:60])
    assert "(docs/glossary.md)" in first_screen


def test_readme_sample_records_are_parsed() -> None:
    """The README shows one record of each kind, as the parser accepts them."""
    records = re.findall(r"^\d{4}-\d\d-\d\dT.*$", (ROOT / "README.md").read_text(), re.M)
    events = [EventParser(UTC).parse(record) for record in records]
    assert [type(event) for event in events] == [Watch, Rating, RecommendationRequest, AccountCreated]


def test_codeowners_paths_exist() -> None:
    for line in (ROOT / ".github/CODEOWNERS").read_text().splitlines():
        if line.startswith("/"):
            assert (ROOT / line.split()[0].strip("/")).exists(), line


def test_pre_commit_hooks_are_frozen_and_agree_with_the_requirements() -> None:
    """Remote hooks are pinned by commit, packages by version; ruff is the version that ``make lint`` runs."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    remotes = re.findall(r"repo: https\S+\n\s+rev: (.*)", text)
    assert remotes
    assert all(re.fullmatch(r"[0-9a-f]{40} # frozen: v[\d.]+", revision) for revision in remotes)
    packages = re.findall(r"additional_dependencies: \[(.*)\]", text)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for package in packages)
    ruff = re.search(r"^ruff==([\d.]+)", (ROOT / "requirements/dev.txt").read_text(), re.M)
    assert ruff
    assert {package for package in packages if package.startswith("ruff")} == {f"ruff=={ruff[1]}"}


def test_requirements_are_pinned_with_hashes_and_name_no_host() -> None:
    """A requirements file works behind any mirror, and installs exactly the files that were tested."""
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert not re.search(r"https?://|file:|--index|--find-links|--trusted", text), path.name
        names = re.findall(r"^[A-Za-z0-9]\S*", text, re.M)
        assert names, path.name
        assert all("==" in name for name in names), path.name
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
        assert all("--hash=sha256:" in entry for entry in entries), path.name


def test_tracked_files_are_small() -> None:
    """Data is fetched and never committed."""
    large = [name for name in TRACKED if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 1_000_000]
    assert large == []
