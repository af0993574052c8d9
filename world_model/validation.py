"""Checks of settings: the error says the name, what was expected and what came."""

from __future__ import annotations

import math
import typing
from numbers import Integral, Real
from typing import Any, Literal


def require(holds: bool, name: str, expected: str, got: object) -> None:
    """Raise ValueError unless ``holds``."""
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {got}")


def require_fields(name: str, config: Any) -> None:
    """Raise ValueError where a field of the dataclass ``config`` is no choice, or no number, of its type."""
    for field, hint in typing.get_type_hints(type(config)).items():
        got = getattr(config, field)
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            require(got in choices, f"{name}{field}", f"one of {', '.join(choices)}", got)
        elif hint is int:
            require(isinstance(got, Integral) and not isinstance(got, bool), f"{name}{field}", "a whole number", repr(got))
        elif hint is float:
            require(isinstance(got, Real) and math.isfinite(got), f"{name}{field}", "a finite number", repr(got))


def require_share(name: str, value: float) -> None:
    """Raise ValueError for a number outside [0, 1]."""
    require(0 <= value <= 1, name, "in [0, 1]", value)


def require_task(name: str, weight: float, hidden: int) -> None:
    """Raise ValueError for a negative weight of a loss, and for a head without hidden units."""
    require(weight >= 0, f"{name}weight", "at least 0", weight)
    require(hidden >= 1, f"{name}hidden", "at least 1", hidden)


def require_label_fraction(name: str, fraction: float, weight: float) -> None:
    """Raise ValueError for a share outside [0, 1], and for a task in use that would know nothing."""
    require_share(name, fraction)
    require(fraction > 0 or weight == 0, name, "above 0 where the task has a weight", fraction)
