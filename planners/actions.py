"""What is planned over: one choice, several choices at once, or a box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DiscreteActions:
    """One of ``count`` actions, numbered from 0. A batch of N is int64 [N]."""

    count: int

    def __post_init__(self) -> None:
        _require_positive_int("DiscreteActions.count", self.count)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of choices of each dimension: here there is one dimension."""
        return (int(self.count),)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one action."""
        return ()

    @property
    def joint_count(self) -> int:
        """The number of different actions."""
        return int(self.count)

    def enumerate(self) -> Tensor:
        """Every action once, in ascending order, int64 [joint_count]."""
        return torch.arange(self.count)

    def sample(self, batch_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw actions uniformly, int64 [*batch_shape], on the generator's device."""
        return torch.randint(self.count, batch_shape, generator=generator, device=generator.device)

    def check(self, name: str, actions: Tensor, batch_shape: tuple[int, ...]) -> None:
        """Raise unless ``actions`` is int64 [*batch_shape] with values in 0..count-1."""
        _check_form(name, actions, batch_shape, torch.int64)
        _check_range(name, actions, self.counts)


@dataclass(frozen=True, slots=True)
class MultiDiscreteActions:
    """A choices at once, the i-th among ``counts[i]``, numbered from 0. A batch of N is int64 [N, A]."""

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.counts, tuple) or not self.counts:
            raise TypeError(f"MultiDiscreteActions.counts must be a non-empty tuple of ints, got {self.counts!r}")
        for count in self.counts:
            _require_positive_int("MultiDiscreteActions.counts", count)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one action."""
        return (len(self.counts),)

    @property
    def joint_count(self) -> int:
        """The number of different actions: the product of the counts."""
        return math.prod(int(count) for count in self.counts)

    def enumerate(self) -> Tensor:
        """Every action once, in lexicographic order, int64 [joint_count, A]."""
        choices = [torch.arange(count) for count in self.counts]
        return torch.cartesian_prod(*choices).reshape(-1, len(self.counts))

    def sample(self, batch_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw actions uniformly, int64 [*batch_shape, A], on the generator's device."""
        device = generator.device
        choices = [torch.randint(count, batch_shape, generator=generator, device=device) for count in self.counts]
        return torch.stack(choices, dim=-1)

    def check(self, name: str, actions: Tensor, batch_shape: tuple[int, ...]) -> None:
        """Raise unless ``actions`` is int64 [*batch_shape, A] with the i-th choice in 0..counts[i]-1."""
        _check_form(name, actions, (*batch_shape, *self.shape), torch.int64)
        _check_range(name, actions, self.counts)


@dataclass(frozen=True, slots=True)
class BoxActions:
    """Points of the cube [-1, 1]^size. A batch of N is float32 [N, size]."""

    size: int

    def __post_init__(self) -> None:
        _require_positive_int("BoxActions.size", self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one action."""
        return (int(self.size),)

    def sample(self, batch_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw actions uniformly, float32 [*batch_shape, size], on the generator's device."""
        unit = torch.rand((*batch_shape, *self.shape), generator=generator, device=generator.device)
        return 2 * unit - 1

    def check(self, name: str, actions: Tensor, batch_shape: tuple[int, ...]) -> None:
        """Raise unless ``actions`` is float32 [*batch_shape, size] with values in [-1, 1]."""
        _check_form(name, actions, (*batch_shape, *self.shape), torch.float32)
        if not (actions.abs() <= 1).all():
            raise ValueError(f"{name} must lie in [-1, 1], got values in {_extremes(actions)}")


FiniteActions = DiscreteActions | MultiDiscreteActions
ActionSpec = FiniteActions | BoxActions


def require_first_cost(space: ActionSpec, first_cost: Tensor | None, batch_size: int) -> None:
    """Raise unless ``first_cost`` is None, or [batch_size, A] for A Discrete actions.

    ValueError where it has another form, FloatingPointError where a cost is not finite: it would win, or leave nothing.
    """
    if first_cost is None:
        return
    if not isinstance(space, DiscreteActions):
        raise ValueError(f"first_cost must be None for actions that are not Discrete, got one for {space}")
    if first_cost.shape != (expected := (batch_size, space.count)):  # [B, 1] would broadcast in silence
        raise ValueError(f"first_cost must have shape {list(expected)}, got {list(first_cost.shape)}")
    finite = torch.isfinite(first_cost)
    if not finite.all():
        raise FloatingPointError(f"first_cost is not finite in {int((~finite).sum())} of {first_cost.numel()} entries")


def _require_positive_int(name: str, value: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _check_form(name: str, actions: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(actions.shape) != shape or actions.dtype != dtype:
        raise ValueError(f"{name} must be {dtype} {list(shape)}, got {actions.dtype} {list(actions.shape)}")


def _check_range(name: str, actions: Tensor, counts: tuple[int, ...]) -> None:
    limit = torch.tensor(counts, device=actions.device)
    if not ((actions >= 0) & (actions < limit)).all():
        raise ValueError(f"{name} must lie in 0..count-1 for counts {counts}, got values in {_extremes(actions)}")


def _extremes(actions: Tensor) -> str:
    return f"[{actions.min().item()}, {actions.max().item()}]"
