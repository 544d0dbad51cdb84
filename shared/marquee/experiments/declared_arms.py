"""Arms of a declaration: a version of an artifact, a policy and a recipe each, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from marquee.errors import ReleaseError, TerminalError
from marquee.registry.policy import Policy, check_policy

_FIELDS = ("version", "policy", "recipe")


class InvalidDeclaration(TerminalError):
    """A declaration with a field that is missing, unknown or impossible."""


class DeclaredArms(NamedTuple):
    """Contents of the arms by name.

    An arm without a policy has the serving one, and an arm without a recipe the parameters of the retraining.
    """

    versions: dict[str, str]
    policies: dict[str, Policy]
    recipes: dict[str, dict[str, Any]]


def parse_arms(where: str, value: object) -> DeclaredArms:
    """Return the arms of a declaration, each a version or a mapping of version, policy and recipe.

    Raises :class:`InvalidDeclaration`, whose message names the field, its value and the valid ones.
    """
    arms = DeclaredArms({}, {}, {})
    for name, content in require_mapping(where, value).items():
        fields = {"version": content} if isinstance(content, str) else require_mapping(f"{where}.{name}", content)
        if unknown := sorted(fields.keys() - set(_FIELDS)):
            raise InvalidDeclaration(
                f"{where}.{name}: unknown fields {', '.join(unknown)}; valid are {', '.join(_FIELDS)}"
            )
        version = fields.get("version", "")
        if not isinstance(version, str):
            raise InvalidDeclaration(f"{where}.{name}: a version is text; got {version!r}")
        arms.versions[name] = version
        if "policy" in fields:
            arms.policies[name] = _parse_policy(f"{where}.{name}.policy", fields["policy"])
        if "recipe" in fields:
            arms.recipes[name] = dict(require_mapping(f"{where}.{name}.recipe", fields["recipe"]))
    return arms


def require_mapping(where: str, value: object) -> Mapping[str, Any]:
    """Return the value if it is a mapping. Raises :class:`InvalidDeclaration` otherwise."""
    if not isinstance(value, Mapping):
        raise InvalidDeclaration(f"{where}: a mapping is needed; got {value!r}")
    return value


def _parse_policy(where: str, value: object) -> Policy:
    try:
        policy = msgspec.structs.replace(msgspec.convert(value, Policy), number=0)
        check_policy(policy)
    except (msgspec.ValidationError, ReleaseError) as error:
        raise InvalidDeclaration(f"{where}: {error}; docs/recommend.md lists the fields of a policy") from error
    return policy
