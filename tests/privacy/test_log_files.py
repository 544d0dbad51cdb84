"""Redaction of log files: only ids of the user, in place, while a writer appends."""

from __future__ import annotations

from pathlib import Path

from marquee.privacy.log_files import redact_logs

LOG = b"""\
scoring failed for user 42 with v
GET /recommend/42?n=3 took 42 ms
{"user_id": "42", "port": 42}
2026-02-14T00:09:20,42,GET /rate/up+2009=5
scoring failed for user 420 with v, user 7
"""


def test_redact_logs_overwrites_only_ids_of_the_user(tmp_path: Path) -> None:
    """Each place that names the user is overwritten; numbers and other users stay, and so does the file's size."""
    log = tmp_path / "recommend.log"
    log.write_bytes(LOG)
    with log.open("ab") as writer:
        assert redact_logs([tmp_path], ["42"]) == {"42": 4}
        writer.write(b"after\n")
    expected = LOG.replace(b"user 42 ", b"user ** ").replace(b"/42?", b"/**?").replace(b'"42"', b'"**"')
    assert log.read_bytes() == expected.replace(b",42,", b",**,") + b"after\n"
    assert redact_logs([tmp_path], ["42", "7", "420"]) == {"42": 0, "7": 1, "420": 1}


def test_redact_logs_without_files_or_users_does_nothing(tmp_path: Path) -> None:
    """An empty file, no file and no user are no error."""
    (tmp_path / "empty.log").touch()
    assert redact_logs([tmp_path, tmp_path / "missing"], ["42"]) == {"42": 0}
    assert redact_logs([tmp_path], []) == {}
