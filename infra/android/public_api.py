"""Android's public API and the level at which each member was added, read from TypeScript declarations.

NativeScript generates the declarations from the SDK of API 37 and marks each member newer than API 21 with ``@since``.
TypeScript has one type for all numbers, so overloads that differ only in number types are not distinguished.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = ("android", "java")
_MODULE = re.compile(r"(?:declare|export) module ([\w.]+) \{")
_CLASS = re.compile(r"export (?:abstract )?class (\w+)(?:<.*?>)?\s+(?:extends ([\w.]+))?(?:.*? implements (.*))?.*\{$")
_SINCE = re.compile(r"/?\*\*? ?@since (\d+)")
_METHOD = re.compile(r"(?:public|protected) (?:static )?(\w+)(?:<.*?>)?\((.*)\)(?:: (.*))?;$")
_FIELD = re.compile(r"(?:public|protected) (?:static )?(\w+): (.*);$")
_NUMBERS, _TEXTS = frozenset("BSIJFD"), ("java.lang.String", "java.lang.CharSequence")


@dataclass(slots=True)
class ApiClass:
    """A class: the level at which it was added, its supertypes, and its members with their levels."""

    since: int = 1
    parents: list[str] = field(default_factory=list)
    members: list[tuple[int, str]] = field(default_factory=list)


PublicApi = dict[str, ApiClass]


def read_public_api(path: Path) -> PublicApi:
    """Return the classes of ``android`` and ``java`` by name, such as ``android.view.View.OnClickListener``."""
    api: PublicApi = {}
    stack: list[str | None] = []  # A module or class, or None for another block.
    since = 1
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if found := _SINCE.match(line):
            since = int(found[1])
        elif line.startswith(("*", "/*")):
            continue
        elif line.endswith("{"):
            stack.append(_open_block(line, since, stack, api))
            since = 1
        elif line.startswith("}"):
            if stack:
                stack.pop()
            since = 1
        else:
            if stack and stack[-1] is not None and (owner := api.get(".".join(part for part in stack if part))):
                owner.members.append((since, line))
            since = 1
    return api


def find_level(api: PublicApi, name: str, member: str, descriptor: str) -> int | None:
    """Return the level at which a member of a class or its supertypes was added; None if it is not public.

    ``descriptor`` is the bytecode descriptor: ``(ILjava/lang/String;)V`` for a method, ``I`` for a field.
    """
    todo, wanted = [name], "constructor" if member == "<init>" else member
    while todo:
        found = api.get(todo.pop(0))
        if found is None:
            continue
        declared = ((level, _read_signature(line, wanted)) for level, line in found.members)
        levels = [level for level, signature in declared if signature and _agrees(descriptor, *signature)]
        if wanted == "constructor" and not levels:
            return None
        if levels:
            return max(min(levels), found.since)
        todo += found.parents
    return None


def _open_block(line: str, since: int, stack: list[str | None], api: PublicApi) -> str | None:
    if found := _MODULE.match(line):
        return found[1] if stack or found[1].split(".")[0] in _PACKAGES else None
    if (found := _CLASS.match(line)) and all(stack):
        name = ".".join([part for part in stack if part] + [found[1]])
        parents = [found[2]] if found[2] else []
        api[name] = ApiClass(since, parents + re.findall(r"[a-z][\w]*\.[\w.]+", found[3] or ""))
        return found[1]
    return None


def _read_signature(line: str, member: str) -> tuple[tuple[str, ...] | None, str] | None:
    """Return parameter types (None for a field) and result type; None if ``line`` does not declare ``member``."""
    if f" {member}" not in line:
        return None
    if (found := _METHOD.match(line)) and found[1] == member:
        return tuple(_type(part.partition(":")[2]) for part in _split(found[2])), _type(found[3] or "void")
    if (found := _FIELD.match(line)) and found[1] == member:
        return None, _type(found[2])
    return None


def _split(text: str) -> list[str]:
    """Split parameters at commas outside angle brackets."""
    parts, depth = [""], 0
    for letter in text.replace("=>", ""):
        depth += (letter == "<") - (letter == ">")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _type(text: str) -> str:
    return re.sub(r"<.*>", "", text.replace(" | null", "")).strip()


def _agrees(descriptor: str, parameters: tuple[str, ...] | None, result: str) -> bool:
    if not descriptor.startswith("("):
        return parameters is None
    if parameters is None:
        return False
    inside, outside = descriptor[1:].split(")")
    types = re.findall(r"\[*(?:L[^;]+;|[ZBCSIJFDV])", inside)
    # Constructors in TypeScript have no result type.
    pairs = zip([*types, outside], [*parameters, result], strict=False)
    return len(types) == len(parameters) and all(_same(java, script) for java, script in pairs)


def _same(java: str, script: str) -> bool:
    name = java[1:-1].replace("/", ".").replace("$", ".") if java.startswith("L") else java
    if script == "any" or re.fullmatch("[A-Z]", script) or name == "java.lang.Object":
        return True
    if java.startswith("["):
        return script.startswith("androidNative.Array")
    if java in _NUMBERS:
        return script in ("number", "java.lang.Number") or script.lstrip("-").isdigit()
    if name in _TEXTS or java == "C":
        return script == "string"
    return script == {"Z": "boolean", "V": "void"}.get(java, name)
