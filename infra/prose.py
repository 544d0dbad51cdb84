"""Prose check: words, openings and spellings to avoid in docs, docstrings, comments, messages and test names.

``python -m infra.prose [PATH ...]`` checks the given files, or every tracked one. A finding is an error. A sentence of
more than 30 words in a Markdown file is a warning and does not change the exit code; ``--quiet`` hides warnings.
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
SUFFIXES = (".py", ".md", ".template", ".sql", ".yaml", ".yml", ".tf", ".toml", ".js", ".html", ".sh")
NAMES = ("Makefile", "Dockerfile")
# The changelog keeps the words of its time; requirements are written by pip-compile.
EXEMPT = ("CHANGELOG.md", "infra/prose.py", "tests/infra/test_prose.py", "requirements/")

_BANNED = re.compile(
    r"(?<![-\w])(?:anew|nobody|somebody|whoever|mend(?:s|ed|ing)?|of late|nought|dearer|thrice|in vain|borne"
    r"|mischief|monkey|many an?|so many|is told of|are told of|by the clock|the world|he|him|his)\b",
    re.IGNORECASE,
)
# Spelling is American. Identifiers and quoted code keep theirs, such as the tier ``personalised``.
_BRITISH = re.compile(
    r"\b(?:\w*(?:behaviour|catalogue|colour|endeavour|favour|honour|humour|labour|neighbour)\w*"
    r"|\w*(?:author|central|character|emphas|factor|general|initial|local|material|maxim|memor|minim|normal|optim"
    r"|organ|parametr|penal|personal|quant|random|recogn|regular|serial|special|standard|summar|symmetr|synchron"
    r"|util|vector|visual)is(?:e[drs]?|ing|ation\w*)|analys(?:ed|es|ing)|artefacts?|centred?|defence|fulfil"
    r"|judgement|labelled|labelling|learnt|licence|(?:mis)?spelt|modelled|modelling|signalled|whilst)\b",
    re.IGNORECASE,
)
# A number has a digit before its point: 0.5, in tables, code blocks and prose alike.
_BARE_POINT = re.compile(r"(?:^|(?<=[\s(\[|±+<=>~,\"'-]))\.\d+(?![\w/*]|\.\w)")
_CODE = re.compile(r"(`+)[^`]+\1")
# pytest's fixture, and the account of Unix where it is quoted.
_ALLOWED = re.compile(r"monkeypatch|MonkeyPatch|[\"'`]nobody[\"'`]")
_OPENING = re.compile(r"(?:What|Whether|How|Where|Which|When|Who|From)\b")
# In a comment "When ..." and "Where ..." are often the condition of a full sentence, which is fine.
_COMMENT_OPENING = re.compile(r"(?:What|Whether|How|Who)\b")
_COMMENT_MARKS = {".sql": "--", ".js": "//"}
_TEST_NAME = re.compile(
    r"^test_(?:(?:what|whether|who|where|how|nobody|somebody|which)_|\w*_(?:nobody|somebody|anew|whoever)(?:_|$))"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_NOT_PROSE = ("#", "|", ">", "    ", "<", "![")
_BULLET = re.compile(r"\s*(?:[-*]|\d+\.)\s")
# Python 3.12 and newer split an f-string into tokens of its own.
_TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


class Finding(NamedTuple):
    """One passage to change."""

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


def check_spelling(path: str, text: str, first_line: int = 1) -> Iterator[Finding]:
    """Yield each British spelling of ``text`` outside quoted code."""
    for number, line in enumerate(text.splitlines(), first_line):
        for word in _BRITISH.findall(_CODE.sub("", line)):
            yield Finding(path, number, f"British spelling {word!r}; the project uses American spelling")


def check_numbers(path: str, text: str, first_line: int = 1) -> Iterator[Finding]:
    """Yield each number of ``text`` outside quoted code that has no digit before its point."""
    for number, line in enumerate(text.splitlines(), first_line):
        for found in _BARE_POINT.findall(_CODE.sub("", line)):
            yield Finding(path, number, f"write 0{found} instead of {found}")


def check_python(path: str, source: str) -> Iterator[Finding]:
    """Yield findings in the comments, strings, docstrings, help texts and test names of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _TEXT_TOKENS:
            yield from check_text(path, token.string, token.start[0])
        if token.type == tokenize.COMMENT:
            yield from check_spelling(path, token.string, token.start[0])
            yield from check_numbers(path, token.string, token.start[0])
    yield from _check_comment_openings(path, source, "#")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and (text := _constant_text(node.value)):
            yield from _check_opening(path, node.lineno, text, "docstring")
            yield from check_spelling(path, text, node.lineno)
            yield from check_numbers(path, text, node.lineno)
        elif isinstance(node, ast.keyword) and node.arg in ("help", "description"):
            yield from _check_opening(path, node.value.lineno, _constant_text(node.value), "help text")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _TEST_NAME.search(node.name):
            yield Finding(path, node.lineno, f"{node.name} is not test_<unit>_<condition>_<result>")


def check_markdown(path: str, text: str) -> Iterator[Finding]:
    """Yield banned words, British spellings, and a warning for each sentence of more than ``MAX_WORDS`` words."""
    yield from check_text(path, text)
    yield from check_numbers(path, text)
    yield from check_spelling(path, re.sub(r"^```.*?^```", _blank, text, flags=re.M | re.S))
    for number, paragraph in _paragraphs(text):
        for sentence in _SENTENCE_END.split(paragraph):
            words = len(sentence.split())
            if words > MAX_WORDS:
                yield Finding(path, number, f"a sentence of {words} words", warning=True)


def check_commented(path: str, text: str, mark: str) -> Iterator[Finding]:
    """Yield banned words and the openings of comments of a file in another language."""
    yield from check_text(path, text)
    yield from _check_comment_openings(path, text, mark)


def _blank(match: re.Match[str]) -> str:
    """Return as many line breaks as the match has, so that line numbers stay."""
    return "\n" * match[0].count("\n")


def _constant_text(node: ast.expr) -> str:
    return node.value.strip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _check_opening(path: str, line: int, text: str, kind: str) -> Iterator[Finding]:
    if opening := _OPENING.match(text):
        yield Finding(path, line, f"{kind} opens with {opening[0]!r}; use a noun phrase or an imperative")


def _check_comment_openings(path: str, text: str, mark: str) -> Iterator[Finding]:
    """Yield each block of comment lines that opens with a relative clause."""
    previous = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        opening = _COMMENT_OPENING.match(stripped.removeprefix(mark).strip())
        if stripped.startswith(mark) and opening and not previous.startswith(mark):
            yield Finding(path, number, f"comment opens with {opening[0]!r}; use a noun phrase or a sentence")
        previous = stripped


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield (first line number, text) of each paragraph and list item; leave out code, tables and headings."""
    fenced, first, lines = False, 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        fence = line.startswith("```")
        fenced ^= fence
        prose = bool(line.strip()) and not (fenced or fence or (not lines and line.startswith(_NOT_PROSE)))
        if lines and (not prose or _BULLET.match(line) or line.startswith(_NOT_PROSE[:2])):
            yield first, " ".join(lines)
            lines = []
        if prose:
            first = first if lines else number
            lines.append(line.strip())


def check_file(path: Path) -> Iterator[Finding]:
    """Yield the findings of one file of any kind."""
    absolute = path.resolve()
    name = absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else path.as_posix()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from check_python(name, text)
    elif path.suffix in (".md", ".template"):
        yield from check_markdown(name, text)
    else:
        yield from check_commented(name, text, _COMMENT_MARKS.get(path.suffix, "#"))


def tracked() -> list[Path]:
    """List the files of the repository that are checked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.splitlines() if is_checked(name)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def is_checked(name: str) -> bool:
    """Return True for a path, relative to the repository, whose prose is checked."""
    return (name.endswith(SUFFIXES) or Path(name).name in NAMES) and not name.startswith(EXEMPT)


def main(arguments: list[str]) -> int:
    """Check the named files, or all; print each finding and return 1 if one is an error."""
    quiet = "--quiet" in arguments
    named = [Path(name) for name in arguments if name != "--quiet"]
    paths = [path for path in named if is_checked(path.as_posix())] if named else tracked()
    findings = [finding for path in paths for finding in check_file(path)]
    for finding in findings:
        if not (quiet and finding.warning):
            print(finding)
    errors = sum(not finding.warning for finding in findings)
    print(f"prose: {len(paths)} files, {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
