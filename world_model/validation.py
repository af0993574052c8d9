"""Checks of settings: the error says the name, what was expected and what came."""

from __future__ import annotations

import dataclasses
import math
import typing
from numbers import Integral, Real
from typing import Any, Literal


def require(holds: bool, name: str, expected: str, got: object) -> None:
    """Raise ValueError unless ``holds``."""
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {got}")


def require_fields(name: str, config: Any) -> None:
    """Raise ValueError where a field of the dataclass ``config`` is no choice, no number or no section of its type."""
    for field, hint in typing.get_type_hints(type(config)).items():
        got = getattr(config, field)
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            require(got in choices, f"{name}{field}", f"one of {', '.join(choices)}", got)
        elif hint in _NUMBERS:
            _require_number(f"{name}{field}", hint, got)
        elif hint is bool:
            require(isinstance(got, bool), f"{name}{field}", "True or False", repr(got))
        elif _is_section(hint):
            _require_section(f"{name}{field}", hint, got)
        elif typing.get_origin(hint) is tuple and all(leaf in _NUMBERS or _is_section(leaf) for leaf in _leaves(hint)):
            _require_tuple(f"{name}{field}", hint, got)


_NUMBERS: dict[type, tuple[type, str]] = {int: (Integral, "a whole number"), float: (Real, "a finite number")}


def _require_number(name: str, hint: type, got: object) -> None:
    kind, expected = _NUMBERS[hint]
    fits = isinstance(got, kind) and not isinstance(got, bool) and math.isfinite(got)  # type: ignore[arg-type]
    require(fits, name, expected, repr(got))


def _require_section(name: str, hint: Any, got: object) -> None:
    require(isinstance(got, hint), name, f"of type {hint.__name__}", repr(got))


def _is_section(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint)


def _require_tuple(name: str, hint: Any, got: object) -> None:
    """Raise ValueError unless ``got`` is a tuple of the length and of the numbers or sections that its type says."""
    kinds = typing.get_args(hint)
    of = f" of {kinds[0].__name__}" if _is_section(kinds[0]) else ""
    require(isinstance(got, tuple), name, f"a tuple{of}", repr(got))
    assert isinstance(got, tuple)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(got)
    require(len(got) == len(kinds), name, f"a tuple of {len(kinds)}", repr(got))
    for kind, entry in zip(kinds, got, strict=True):
        if _is_section(kind):
            _require_section(f"every entry of {name}", kind, entry)
        else:
            (_require_number if kind in _NUMBERS else _require_tuple)(name, kind, entry)


def _leaves(hint: Any) -> list[Any]:
    """The types of the entries of a tuple type, of nested ones too."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not Ellipsis]
    return [leaf for kind in kinds for leaf in (_leaves(kind) if typing.get_origin(kind) is tuple else [kind])]


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
