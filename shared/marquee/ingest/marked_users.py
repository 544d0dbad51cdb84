"""Marks and pseudonyms of users, applied to parsed batches; and search for user ids in unparsed data."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable, Iterator
from functools import cache

import msgspec

from marquee.db.privacy_marks import MarkSet
from marquee.ingest.row_encoding import ParsedBatch

_USER_COLUMN = 2
"""Column of the user id in the rows of watches."""
_MAX_DEPTH = 3
"""Maximum nesting: a Pub/Sub push contains a batch in base64, which contains records as text."""

_STRING = r'"((?:[^"\\]|\\.)*)"'
_find_user_fields = re.compile(rf'"user(?:_id)?"\s*:\s*(?:{_STRING}|(-?\d+))').findall
_find_nested = re.compile(rf'"(text|base64|data)"\s*:\s*{_STRING}').findall


def apply_marks(parsed: ParsedBatch, marks: MarkSet) -> None:
    """Move the records of marked users to ``parsed.dropped``, and replace ids by pseudonyms if these are on."""
    if marks.pseudonyms:
        _replace_ids(parsed, cache(marks.stored_id))
    if not marks:
        return
    users = {row.split("\t")[_USER_COLUMN] for row in parsed.watches}
    users.update(event.user_id for rows in parsed.others.values() for event in rows.events)
    marked = marks.find(users)
    if marked:
        _drop_watches(parsed, marked)
        _drop_others(parsed, marked)
    malformed = parsed.malformed
    parsed.malformed = [entry for entry in malformed if not marks.find(find_user_ids(entry[0].raw))]
    if len(parsed.malformed) < len(malformed):
        kept = {record.offset for record, _, _ in parsed.malformed}
        parsed.dropped += [record.offset for record, _, _ in malformed if record.offset not in kept]


def find_user_ids(raw: bytes, depth: int = _MAX_DEPTH) -> set[str]:
    """Return all possible user ids in a record, a delivery or a request, which may be malformed.

    These are the second field of a record of the event log, and every field ``user_id`` or ``user`` of JSON, including
    JSON nested in strings and base64.
    """
    text = raw.decode("utf-8", "replace")
    found = {parts[1].strip() for line in text.splitlines() if len(parts := line.split(",", 2)) > 1}
    found.update(_read_string(string) if string else number for string, number in _find_user_fields(text))
    if depth:
        for nested in _iterate_nested(text):
            found |= find_user_ids(nested, depth - 1)
    return found - {""}


def _iterate_nested(text: str) -> Iterator[bytes]:
    for name, string in _find_nested(text):
        content = _read_string(string).encode("utf-8", "surrogatepass")
        if name == "text":
            yield content
        else:
            try:
                yield b64decode(content)
            except (Error, ValueError):
                yield content


def _read_string(string: str) -> str:
    try:
        return msgspec.json.decode(f'"{string}"'.encode("utf-8", "replace"), type=str)
    except msgspec.DecodeError:
        return string


def _replace_ids(parsed: ParsedBatch, stored_id: Callable[[str], str]) -> None:
    for number, row in enumerate(parsed.watches):
        fields = row.split("\t", _USER_COLUMN + 1)
        fields[_USER_COLUMN] = stored_id(fields[_USER_COLUMN])
        parsed.watches[number] = "\t".join(fields)
    for rows in parsed.others.values():
        rows.events = [msgspec.structs.replace(event, user_id=stored_id(event.user_id)) for event in rows.events]


def _drop_watches(parsed: ParsedBatch, marked: frozenset[str]) -> None:
    kept = []
    for row in parsed.watches:
        if row.split("\t", _USER_COLUMN + 1)[_USER_COLUMN] in marked:
            parsed.dropped.append(int(row.partition("\t")[0]))
        else:
            kept.append(row)
    parsed.watches = kept


def _drop_others(parsed: ParsedBatch, marked: frozenset[str]) -> None:
    for rows in parsed.others.values():
        pairs = list(zip(rows.offsets, rows.events, strict=True))
        parsed.dropped += [offset for offset, event in pairs if event.user_id in marked]
        kept = [(offset, event) for offset, event in pairs if event.user_id not in marked]
        rows.offsets, rows.events = [offset for offset, _ in kept], [event for _, event in kept]
