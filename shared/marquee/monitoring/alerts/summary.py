"""What an annotation says: the little of Go's templates that our rules use, filled in as Grafana does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from marquee.errors import SettingsError

_ACTION = re.compile(r"\{\{(.*?)\}\}")
_LABEL = re.compile(r"\.Labels\.([a-zA-Z_]\w*)")
_PRINTF = re.compile(r'printf "(%\.\df)" \.Values\.B\.Value')
_PERCENT = "humanizePercentage .Values.B.Value"


def filled(template: str, labels: Mapping[str, str], value: float | None) -> str:
    """The text for one alert; ``value`` None (no data) is shown as Grafana shows it.

    Raises :class:`SettingsError` for what Grafana may understand and this does not.
    """

    def action(found: re.Match[str]) -> str:
        inner, number = found[1].strip(), math.nan if value is None else value
        if label := _LABEL.fullmatch(inner):
            return labels.get(label[1], "[no value]")
        if printf := _PRINTF.fullmatch(inner):
            return "[no value]" if value is None else printf[1] % number
        if inner == _PERCENT:
            return "[no value]" if value is None else f"{number * 100:.4g}%"
        raise SettingsError(f"{found[0]} in {template!r} is none of .Labels.x, printf, humanizePercentage")

    return _ACTION.sub(action, template)
