"""The prose check: its findings in each kind of file, and the prose that it accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from infra.prose import check_file, check_markdown, check_python, is_checked, main


def messages(source: str) -> list[str]:
    return [finding.message for finding in check_python("module.py", source)]


@pytest.mark.parametrize("word", ["anew", "Nobody", "thrice", "in vain", "of late", "he", "his"])
@pytest.mark.parametrize("form", ['"""Read the rows {}."""', "x = 1  # {}", 'raise ValueError("{}")', 'f"{} {x}"'])
def test_check_python_banned_word_is_reported(word: str, form: str) -> None:
    """Docstrings, comments, messages and f-strings are all read."""
    assert messages(form.format(word, x="x")) == [f"banned word {word!r}"]


@pytest.mark.parametrize(
    "word", ["behaviour", "Catalogues", "colours", "learnt", "regularisation", "non-personalised", "labelled"]
)
def test_check_british_spelling_is_reported(word: str) -> None:
    """In comments, docstrings and pages."""
    reported = word.removeprefix("non-")
    message = f"British spelling {reported!r}; the project uses American spelling"
    assert messages(f"x = 1  # {word}") == [message]
    assert messages(f'"""Return the {word}."""') == [message]
    assert [finding.message for finding in check_markdown("a.md", f"The {word}.\n")] == [message]


def test_check_british_spelling_of_code_is_accepted() -> None:
    """Identifiers and quoted names, such as a tier, keep their spelling."""
    assert messages('"""Return ``personalised``."""\ncatalogue = "catalogue"\n') == []
    assert list(check_markdown("a.md", "The tier `personalised`.\n\n```\ncolour\n```\n")) == []
    assert messages("x = 1  # Promises, raises, our hours, otherwise, supervised, exercise\n") == []


@pytest.mark.parametrize("text", [".5 of it", "RMSE .8996.", "[.1, -.2]", "| .077 |", "+.0005", "<.001"])
def test_check_number_without_digit_before_the_point_is_reported(text: str) -> None:
    """In comments, docstrings, tables and code blocks, so that figures look alike everywhere."""
    assert messages(f"x = 1  # {text}")[0].startswith("write 0.")
    assert messages(f'"""Return {text}"""')[0].startswith("write 0.")
    found = [str(finding) for finding in check_markdown("a.md", f"{text}\n\n```\n{text}\n```\n")]
    assert found[0].startswith("a.md:1: write 0.")
    assert found[-1].startswith("a.md:4: write 0.")


@pytest.mark.parametrize("text", ["0.5", "a file `log.1` or `.1`", "3.11.7", "/app/.5x", "rose to 1.5.", "./.venv"])
def test_check_number_with_digit_or_in_a_name_is_accepted(text: str) -> None:
    """Versions, names of files and quoted code are no such numbers."""
    assert list(check_markdown("a.md", f"{text}\n")) == []


def test_check_python_identifier_is_not_prose() -> None:
    """Only text is checked; ``monkeypatch`` is pytest's word and ``nobody``, quoted, an account of Unix."""
    assert messages("nobody = 1\n") == []
    assert messages('"""Take pytest\'s monkeypatch."""\n') == []
    assert messages('"""Run as ``nobody``."""\nuser = "nobody"\n') == []


@pytest.mark.parametrize("opening", ["What", "Whether", "How", "Who", "Where", "Which", "When", "From"])
def test_check_python_docstring_opening_with_clause_is_reported(opening: str) -> None:
    """A module, class, function and attribute alike."""
    text = f'"""{opening} it is."""'
    source = f"{text}\nclass A:\n    {text}\n    x = 1\n    {text}\n    def f(self):\n        {text}\n"
    assert len(messages(source)) == 4
    assert all(f"opens with {opening!r}" in message for message in messages(source))


def test_check_python_help_text_opening_with_clause_is_reported() -> None:
    """The texts of ``--help`` follow the rule of docstrings."""
    source = 'parser.add_argument("--home", help="where the data is")\nparser.add_argument("-n", help="Which one")\n'
    assert messages(source) == ["help text opens with 'Which'; use a noun phrase or an imperative"]


def test_check_python_test_name_with_clause_is_reported() -> None:
    """A test is named ``test_<unit>_<condition>_<result>``."""
    assert len(messages("def test_what_it_does(): ...\nasync def test_nobody_calls(): ...\n")) == 2
    assert messages("def test_parse_empty_line_raises(): ...\ndef test_user_who_left_is_gone(): ...\n") == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.sql", "-- What was written.\nSELECT 1;\n", 1),
        ("a.yaml", "a: 1\n# Who may read.\n", 1),
        ("Dockerfile", "# How it is built.\nFROM scratch\n", 1),
        ("a.js", "// Whether it fits.\n", 1),
        ("a.sql", "-- Rows written. They say\n-- what was read.\nSELECT 1;\n", 0),
        ("a.sh", "# When the build fails, stop.\n", 0),
        ("a.sql", "-- for nobody\n", 1),
        ("a.py", "# What follows.\nx = 1\n", 1),
    ],
)
def test_check_file_comments_of_any_language_are_read(tmp_path: Path, name: str, text: str, expected: int) -> None:
    """Only the first line of a block of comments can be its opening."""
    (tmp_path / name).write_text(text)
    assert len(list(check_file(tmp_path / name))) == expected


def test_check_markdown_long_sentence_is_a_warning() -> None:
    """A sentence may run over several lines; tables, code and headings are not sentences."""
    long = "word " * 20 + "\n" + "word " * 20 + "end."
    assert [(f.line, f.warning) for f in check_markdown("a.md", f"# Title\n\n{long}\n")] == [(3, True)]
    short = "word " * 20 + "end.\n" + "word " * 20 + "end."
    assert list(check_markdown("a.md", f"{short}\n\n- {short}\n- {short}\n")) == []
    assert list(check_markdown("a.md", f"| {'word ' * 60} |\n\n```\n{'word ' * 60}\n```\n")) == []


def test_is_checked_generated_and_historical_files_are_left_out() -> None:
    assert is_checked("docs/stream.md")
    assert is_checked("jobs/Dockerfile")
    assert is_checked(".github/workflows/check.yml")
    assert not is_checked("CHANGELOG.md")
    assert not is_checked("requirements/dev.txt")
    assert not is_checked("docs/dashboards.png")


def test_main_exit_code_is_one_for_an_error_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding names file and line; warnings alone do not fail."""
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("word " * 40)
    bad.write_text("\nFor nobody.\n")
    assert main([str(good)]) == 0
    assert "0 errors, 1 warnings" in capsys.readouterr().out
    assert main([str(good), str(bad)]) == 1
    assert f"{bad}:2: banned word 'nobody'" in capsys.readouterr().out
