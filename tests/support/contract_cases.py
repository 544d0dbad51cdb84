"""Generated requests of an OpenAPI document: how many, and in which modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from schemathesis.generation import GenerationMode

SETTINGS = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def list_cases(operations: Iterable[Any], can_be_invalid: Callable[[Any], object]) -> list[Any]:
    """Return the parameters (operation, mode): valid requests of each, and invalid ones if there can be any."""
    return [
        pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode is GenerationMode.POSITIVE or can_be_invalid(operation)
    ]
