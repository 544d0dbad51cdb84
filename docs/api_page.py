"""Renderer of the OpenAPI document as one HTML page, without scripts and without resources from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#1c2230,#e6e9f0);--muted:light-dark(#566074,#a0a9bb);
--page:light-dark(#fff,#10131a);--edge:light-dark(#dfe3ea,#2b3140);--code:light-dark(#f4f5f8,#181c25);
--accent:light-dark(#2f5bd0,#8fb0ff)}
body{margin:0 auto;max-width:60rem;padding:1.5rem 1rem 4rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--page)}
h2{margin-top:2.5rem;border-top:1px solid var(--edge);padding-top:1.5rem}
h1,h2,h3{line-height:1.25;overflow-wrap:anywhere}a{color:var(--accent)}
code,pre{background:var(--code);border-radius:5px;font-size:.9em;overflow-wrap:anywhere}code{padding:.1em .3em}
td:last-child code{overflow-wrap:normal}
pre{padding:.8rem;overflow:auto}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid var(--edge)}
.muted{color:var(--muted)}
"""


def api_page(document: dict[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        (path, method, operation, item.get("servers", document["servers"]))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    ]
    links = "".join(f'<li><a href="#{o["operationId"]}">{escape(o["summary"])}</a></li>' for _, _, o, _ in operations)
    parts = [
        f'<p>{_inline(info["description"])} <a href="openapi.json">openapi.json</a></p><ul>{links}</ul>',
        *(_operation(*operation, document) for operation in operations),
        "<h2>Schemas</h2>",
        *(_schema(name, schema) for name, schema in schemas.items()),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head>\n<body><main>"
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _operation(path: str, method: str, operation: dict[str, Any], servers: Any, document: dict[str, Any]) -> str:
    text = [f'<h2 id="{operation["operationId"]}"><code>{method.upper()} {escape(path)}</code></h2>']
    text.append(f"<p>{_inline(operation['summary'])}. {_inline(operation.get('description', ''))}</p>")
    text.append(f'<p class="muted">{escape(servers[0]["description"])}: {escape(servers[0]["url"])}</p>')
    if method == "get" and servers is document["servers"]:
        # The page and this operation have the same address, whichever port that is.
        address = _fill_in(path, operation.get("parameters", ()))
        text.append(f'<p>Try it: <a href="{escape(address)}">{escape(address)}</a></p>')
    if parameters := operation.get("parameters"):
        rows = [
            (
                _inline(f"`{p['name']}`"),
                _inline(p["description"]),
                _inline(f"`{p['example']}`") if "example" in p else "",
            )
            for p in parameters
        ]
        text.append(_table(("parameter", "meaning", "example"), rows))
    if body := operation.get("requestBody"):
        text.append(f"<p>Body: {_type(body['content']['application/json']['schema'])}</p>")
    rows = []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        types = ", ".join(
            f"{_inline(f'`{kind}`')} {_type(of['schema'])}" for kind, of in response.get("content", {}).items()
        )
        rows.append((status, _inline(response["description"]), types))
    return "\n".join([*text, _table(("status", "meaning", "content"), rows)])


def _fill_in(path: str, parameters: Sequence[dict[str, Any]]) -> str:
    """Return the path with the examples of its parameters."""
    for parameter in parameters:
        path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "")))
    return path


def _schema(name: str, schema: dict[str, Any]) -> str:
    head = f'<h3 id="{name}">{escape(name)}</h3><p>{_inline(schema.get("description", ""))}</p>'
    if "properties" not in schema:
        return head + f"<p>{_type(schema)}</p>"
    required = schema.get("required", ())
    rows = [
        (_inline(f"`{field}`"), _type(of) + ("" if field in required else " <span class=muted>optional</span>"),
         _inline(of.get("description", "")))
        for field, of in schema["properties"].items()
    ]  # fmt: skip
    return head + _table(("field", "type", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{escape(name)}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_type, schema[key]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items']) if schema.get('items') else 'values'}"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    return escape(str(schema.get("type", "any")))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _inline(text: str) -> str:
    """Return text as HTML, with code between backticks."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(text))
