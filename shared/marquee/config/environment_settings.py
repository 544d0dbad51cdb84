"""Settings as environment variables: reading them, requiring them, and writing them for other processes.

All problems are found before the first is reported, so that a deployment can be corrected in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any, Self

from marquee.config.fields import field_meta, masked_repr, settings_class, to_text
from marquee.config.service_links import explain_service_link
from marquee.errors import SettingsError

PREFIX = "MARQUEE_"


@settings_class
class EnvironmentSettings:
    """An immutable object whose field ``x_y`` is the environment variable ``MARQUEE_X_Y``."""

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        self.__dict__.update({f.name: f.default for f in fields(self)} | values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnvironmentSettings) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __getattr__(self, name: str) -> Any:
        if name in type(self).__dataclass_fields__:
            raise AttributeError(f"{name} is not among the settings that this part needs (config/needs.py)")
        raise AttributeError(f"there is no setting {name}")

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str], needs: Iterable[str] | None = None) -> Self:
        """Read the settings; with ``needs``, the object has only those.

        Raises :class:`SettingsError` that lists every problem.
        """
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, declared in known.items():
            if name in environment:
                try:
                    values[declared.name] = field_meta(declared).parse(environment[name].strip())
                except ValueError as error:
                    shown = masked_repr(declared, environment[name])
                    hint = explain_service_link(name, environment[name])
                    problems.append(f"{name} is {shown}: expected {error}{hint}")
        problems += [
            f"{name} is not a setting{_suggestion(name, environment[name], known)}"
            for name in environment
            if name.startswith(PREFIX) and name not in known
        ]
        if problems:
            raise SettingsError("\n".join(problems))
        settings = cls(**values)
        if needs is not None:
            unused = settings.__dict__.keys() - set(needs)
            for name in unused:
                del settings.__dict__[name]
        return settings

    def require(self, *names: str) -> Self:
        """Return ``self``. Raises :class:`SettingsError` if any of ``names`` has no value."""
        by_name = {f.name: f for f in fields(self)}
        missing = [name for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError(
                "\n".join(f"{PREFIX}{name.upper()} is not set: {_describe_setting(by_name[name])}" for name in missing)
            )
        return self

    def environment(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Return the variables from which ``from_mapping`` reads these values, without the defaults.

        With ``names``, only the variables of those settings.
        """
        selected = {f.name for f in fields(self)} if names is None else set(names)
        if unknown := selected - {f.name for f in fields(self)}:
            raise SettingsError(f"no such setting: {', '.join(sorted(unknown))}")
        return {
            PREFIX + f.name.upper(): to_text(self.__dict__[f.name])
            for f in fields(self)
            if f.name in selected and self.__dict__.get(f.name, f.default) != f.default
        }

    def __repr__(self) -> str:
        declared = (f for f in fields(self) if f.name in self.__dict__)
        values = (f"{f.name}={masked_repr(f, self.__dict__[f.name])}" for f in declared)
        return f"{type(self).__name__}({', '.join(values)})"


def _describe_setting(declared: Field[Any]) -> str:
    meta = field_meta(declared)
    example = meta.example or declared.default
    return f"{meta.doc} For example {example}" if example else meta.doc


def _suggestion(name: str, value: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    if hint := explain_service_link(name, value):
        return hint
    close = get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else "; see docs/configuration.md"
