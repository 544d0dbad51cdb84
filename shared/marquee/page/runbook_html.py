"""HTML of a runbook: of Markdown, what the pages in docs/runbooks have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import takewhile

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} · Marquee</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/page.css"></head>
<body><main class="runbook"><p><a href="/">Dashboards</a></p>
{body}
</main></body></html>
"""
_CODE, _BOLD = re.compile(r"`([^`]+)`"), re.compile(r"\*\*([^*]+)\*\*")
_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
_RUNBOOK = re.compile(r"([a-z-]+)\.md")


def render_runbook(text: str) -> str:
    """Return the page of a runbook. Other text than the known kinds of blocks is a paragraph, and never HTML."""
    title = text.partition("\n")[0].lstrip("# ")
    return _PAGE.format(title=escape(title), body="\n".join(_render_blocks(text)))


def _render_blocks(text: str) -> Iterator[str]:
    paragraph: list[str] = []
    lines = iter([*text.splitlines(), ""])
    for line in lines:
        words = line.strip()
        # A list has numbered paragraphs, and a table a paragraph a row.
        begins = words.startswith(("```", "#", "|", "- ")) or re.match(r"\d+\. ", words)
        if paragraph and (begins or not words):
            yield f"<p>{_render_inline(' '.join(paragraph))}</p>"
            paragraph = []
        if words.startswith("```"):
            indent = len(line) - len(line.lstrip())
            code = [each[indent:] for each in takewhile(lambda each: each.strip() != "```", lines)]
            yield f'<pre tabindex="0">{escape(chr(10).join(code))}</pre>'
        elif words.startswith("#"):
            level = len(words) - len(words.lstrip("#"))
            yield f"<h{level}>{_render_inline(words.lstrip('# '))}</h{level}>"
        elif words:
            paragraph.append(words)


def _render_inline(text: str) -> str:
    shown = _LINK.sub(_render_link, _BOLD.sub(r"<strong>\1</strong>", escape(text)))
    return _CODE.sub(r"<code>\1</code>", shown)


def _render_link(match: re.Match[str]) -> str:
    """Return a link to another runbook or a website; the page serves no other documents."""
    name = _RUNBOOK.fullmatch(match[2])
    address = f"/runbooks/{name[1]}" if name else match[2] if match[2].startswith("https://") else ""
    return f'<a href="{address}">{match[1]}</a>' if address else f"{match[1]} ({match[2]})"
