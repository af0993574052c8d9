"""Checks of settings: the error says the name, what was expected and what came."""

from __future__ import annotations

import typing
from typing import Any, Literal


def require(holds: bool, name: str, expected: str, got: object) -> None:
    """Raise ValueError unless ``holds``."""
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {got}")


def require_choices(name: str, config: Any) -> None:
    """Raise ValueError where a field of the dataclass ``config`` is none of the choices that its type lists."""
    for field, hint in typing.get_type_hints(type(config)).items():
        if typing.get_origin(hint) is Literal:
            choices, got = typing.get_args(hint), getattr(config, field)
            require(got in choices, f"{name}{field}", f"one of {', '.join(choices)}", got)


def require_share(name: str, value: float) -> None:
    """Raise ValueError for a number outside [0, 1]."""
    require(0 <= value <= 1, name, "in [0, 1]", value)


def require_label_fraction(name: str, fraction: float, weight: float) -> None:
    """Raise ValueError for a share outside [0, 1], and for a task in use that would know nothing."""
    require_share(name, fraction)
    require(fraction > 0 or weight == 0, name, "above 0 where the task has a weight", fraction)
