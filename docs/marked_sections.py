"""Generated sections of hand-written pages, between two comments that name the section."""

from __future__ import annotations

import re


def replace_section(page: str, name: str, text: str) -> str:
    """Return ``page`` with the section ``name`` replaced by ``text``.

    Raises ``ValueError`` unless the section occurs exactly once.
    """
    begin, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(section.findall(page)) != 1:
        raise ValueError(f"the page needs one section from {begin!r} to {end!r}")
    return section.sub(lambda _: f"{begin}\n{text}\n{end}", page)
