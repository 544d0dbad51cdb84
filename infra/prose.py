"""Prose check: words and openings that do not belong in docs, docstrings, comments, messages or test names.

``python -m infra.prose [PATH ...]`` checks the given files, or every tracked one. A finding is an error. A sentence of
more than 30 words in a Markdown file is a warning and does not change the exit code.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MAX_WORDS = 30
SUFFIXES = (".py", ".md", ".sql", ".yaml", ".yml", ".tf", ".toml", ".js", ".html", ".sh")
# History keeps its own words; the data are what other programs wrote.
EXEMPT = ("CHANGELOG.md", "infra/prose.py", "tests/infra/test_prose.py", "requirements/")

_BANNED = re.compile(
    r"\b(?:anew|nobody|somebody|whoever|mend(?:s|ed|ing)?|of late|nought|dearer|thrice|in vain|borne|mischief|monkey"
    r"|many an?|so many|is told of|are told of|by the clock|the world|he|him|his)\b",
    re.IGNORECASE,
)
_ALLOWED = re.compile(r"monkeypatch|MonkeyPatch")
_OPENING = re.compile(r"(?:What|Whether|How|Where|Which|When|Who|From)\b")
_TEST_NAME = re.compile(
    r"test_(?:what|whether|who|where|how|nobody|somebody|which)_|_(?:nobody|somebody|anew|whoever)(?:_|$)"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Finding(NamedTuple):
    """One place to change."""

    path: str
    line: int
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {'warning: ' if self.warning else ''}{self.message}"


def check_text(path: str, text: str, first_line: int = 1) -> Iterator[Finding]:
    """Yield each banned word of ``text``."""
    for number, line in enumerate(text.splitlines(), first_line):
        for word in _BANNED.findall(_ALLOWED.sub("", line)):
            yield Finding(path, number, f"banned word {word!r}")


def check_python(path: str, source: str) -> Iterator[Finding]:
    """Yield findings in the comments, strings, docstrings and test names of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield from check_text(path, token.string, token.start[0])
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        line = getattr(node, "lineno", 1)
        if docstring and (opening := _OPENING.match(docstring)):
            yield Finding(
                path, line, f"docstring opens with {opening[0]!r}; use a noun phrase or an imperative"
            )
        if (
            isinstance(node, ast.FunctionDef)
            and node.name.startswith("test_")
            and _TEST_NAME.search(node.name)
        ):
            yield Finding(path, line, f"{node.name} is not test_<unit>_<condition>_<result>")


def check_markdown(path: str, text: str) -> Iterator[Finding]:
    """Yield banned words, and a warning for each sentence that is too long."""
    yield from check_text(path, text)
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.startswith("```")
        if fenced or line.startswith(("#", "|", "    ")):
            continue
        for sentence in _SENTENCE_END.split(line):
            words = len(sentence.split())
            if words > MAX_WORDS:
                yield Finding(path, number, f"a sentence of {words} words", warning=True)


def check_file(path: Path) -> Iterator[Finding]:
    """Yield the findings of one file, whatever its kind."""
    name = path.relative_to(ROOT).as_posix() if path.is_absolute() else path.as_posix()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from check_python(name, text)
    elif path.suffix == ".md":
        yield from check_markdown(name, text)
    else:
        yield from check_text(name, text)


def tracked() -> list[Path]:
    """List the files of the repository that are checked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [
        name for name in listed.stdout.splitlines() if name.endswith(SUFFIXES) and not name.startswith(EXEMPT)
    ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Check the named files, or all; print each finding and return 1 if one is an error."""
    paths = [Path(name).resolve() for name in arguments] or tracked()
    findings = [finding for path in paths for finding in check_file(path)]
    for finding in findings:
        print(finding)
    errors = sum(not finding.warning for finding in findings)
    print(f"prose: {len(paths)} files, {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
