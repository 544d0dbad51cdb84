"""Lint of a package's bytecode: it uses only public Android members, and guards those above its minimum level."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from infra.android.public_api import PublicApi, find_level
from infra.android.toolchain import run_tool

_REFERENCE = re.compile(r"\|[0-9a-f]{4}: (?:invoke|[si]get|[si]put)[\w/-]* .*?(L[\w/$]+;)\.([\w$<>-]+):(\S+)")
_METHOD = re.compile(r"\|\[[0-9a-f]+\] (\S+)")
_CHECK = ("Landroid/os/Build$VERSION;", "SDK_INT")


@dataclass(frozen=True, slots=True, order=True)
class ApiCall:
    """Use of an Android or Java member by a method of the package. ``guarded``: after a check of the API level."""

    caller: str
    owner: str
    member: str
    descriptor: str
    guarded: bool

    @property
    def name(self) -> str:
        """The member with its class, such as ``android.view.WindowInsets.CONSUMED``."""
        return f"{self.owner}.{self.member}"


@dataclass(frozen=True, slots=True)
class ApiFindings:
    """Names of all members that a package uses, of those that are not public, and of unguarded newer ones."""

    calls: tuple[ApiCall, ...]
    unknown: tuple[str, ...]
    newer: dict[str, int]
    unguarded: tuple[str, ...]


def disassemble(package: Path) -> str:
    """Return the instructions of a package or dex file, as dexdump prints them."""
    return run_tool("dexdump", "-d", package)


def list_calls(disassembly: str) -> list[ApiCall]:
    """Return the uses of Android and Java members in ``disassembly``, in order.

    A member inherited by a class of the package is attributed to the nearest superclass outside the package.
    """
    defined = set(re.findall(r"\(in (L\S+;)\)\n +name +: '(.*)'\n +type +: '(.*)'", disassembly))
    parents = dict(re.findall(r"Class descriptor  : '(\S+)'\n.*\n  Superclass        : '(\S+)'", disassembly))
    calls, caller, checked = [], "", False
    for line in disassembly.splitlines():
        if found := _METHOD.search(line):
            caller, checked = found[1], False
        elif found := _REFERENCE.search(line):
            owner, member, descriptor = found.groups()
            checked = checked or (owner, member) == _CHECK
            if found.groups() in defined:
                continue
            while owner in parents and parents[owner] != "Ljava/lang/Object;":
                owner = parents[owner]
            if owner.startswith(("Landroid/", "Ljava/")):
                name = owner[1:-1].replace("/", ".").replace("$", ".")
                calls.append(ApiCall(caller, name, member, descriptor, checked))
    return calls


def lint_calls(api: PublicApi, calls: list[ApiCall], minimum: int) -> ApiFindings:
    """Compare ``calls`` with the public API, for a package whose minimum API level is ``minimum``."""
    unknown, unguarded, newer = set[str](), set[str](), dict[str, int]()
    for call in calls:
        level = find_level(api, call.owner, call.member, call.descriptor)
        if level is None:
            unknown.add(f"{call.name}{call.descriptor}")
        elif level > minimum:
            newer[call.name] = level
            if not call.guarded:
                unguarded.add(f"{call.name} in {call.caller}")
    return ApiFindings(tuple(calls), tuple(sorted(unknown)), newer, tuple(sorted(unguarded)))
