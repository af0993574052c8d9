"""The settings of planning, validated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args, get_type_hints

PlannerKind = Literal["auto", "exhaustive", "cem", "mppi", "random_shooting", "value"]
_NUMBERS: dict[type, tuple[type, str]] = {int: (Integral, "a whole number"), float: (Real, "a number")}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannerConfig:
    """How action sequences are searched in imagination; every number is per observation."""

    kind: PlannerKind = "auto"
    """Search method. "auto" is "exhaustive" where actions^horizon is at most max_leaves, otherwise "cem". "value" does not
    search: it takes the action of the highest Q, with a horizon of 1."""

    horizon: int = 4
    """Length of the imagined sequences, in environment steps."""

    max_leaves: int = 1024
    """exhaustive: the most sequences (actions^horizon) that may be evaluated."""

    samples: int = 256
    """cem, mppi, random_shooting: sequences drawn in each iteration."""

    iterations: int = 4
    """cem, mppi: rounds of drawing and scoring; the distribution is refitted between them."""

    proposals: int = 0
    """cem, mppi, random_shooting: further sequences, which the model's policy draws as it goes along; with those of Box
    actions the model needs a policy, with finite ones a value."""

    elites: int = 32
    """cem, mppi, random_shooting: sequences that count as good. cem refits to them, and a plan that is not deterministic is
    drawn among them."""

    elite_carry_fraction: float = 0.3
    """cem, mppi: share of the elites that competes again in the next iteration (iCEM); the best one always does."""

    temperature: float = 0.1
    """Units of return. mppi weighs sequences by exp(return / temperature); a plan that is not deterministic is drawn with
    the same weights, whatever the kind."""

    trace: float = 1.0
    """exhaustive: lambda. Below 1 a sequence is worth a mixture of the returns that end after each of its steps with the Q
    of the next action, the first of them at the root, and not only the one at the horizon: errors of single values weigh
    less."""

    revisit_cost: float = 0.0
    """Units of return by which a plan is worth less for each time that the episode was where its first action leads; for
    Discrete actions. On its way to a goal an optimal policy of a deterministic environment never comes back to where it
    was: one that does is mistaken about a value, or sees too little of the state, and may go round for ever. Leave it at 0
    where coming back pays. Where the agent was trained without a memory of the episode, only places where it acted before
    count, for nothing is known of how well the dynamics imagine others."""

    momentum: float = 0.3
    """cem, mppi: share of the old distribution that a refit keeps; more guards against settling early."""

    warm_probability: float = 0.5
    """cem, mppi, finite actions: probability put on the previous plan's actions at first; the rest is uniform."""

    initial_std: float = 1.0
    """cem, mppi, box actions: first standard deviation, in action units (the box is [-1, 1])."""

    min_std: float = 0.05
    """cem, mppi, box actions: standard deviation below which no refit goes, in action units."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(PlannerKind):
            raise ValueError(f"planner.kind must be one of {', '.join(get_args(PlannerKind))}, got {self.kind!r}")
        self._require_numbers()
        for name in ("horizon", "max_leaves", "samples", "iterations", "elites"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"planner.{name} must be at least 1, got {value}")
        if self.proposals < 0:
            raise ValueError(f"planner.proposals must be at least 0, got {self.proposals}")
        if self.kind == "value" and self.horizon != 1:
            raise ValueError(f"planner.kind 'value' imagines nothing: planner.horizon must be 1, got {self.horizon}")
        if self.elites > self.samples:
            raise ValueError(f"planner.elites must be at most planner.samples={self.samples}, got {self.elites}")
        for name in ("elite_carry_fraction", "momentum", "warm_probability", "trace"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"planner.{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("temperature", "initial_std", "min_std"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"planner.{name} must be positive and finite, got {getattr(self, name)}")
        if not 0.0 <= self.revisit_cost < math.inf:
            raise ValueError(f"planner.revisit_cost must be at least 0 and finite, got {self.revisit_cost}")
        if self.min_std > self.initial_std:
            raise ValueError(f"planner.min_std must be at most planner.initial_std={self.initial_std}, got {self.min_std}")

    def _require_numbers(self) -> None:
        """Raise ValueError where a field is no number of its type: True would pass for 1, a text fails at a comparison."""
        for name, hint in get_type_hints(type(self)).items():
            if hint in _NUMBERS:
                kind, expected = _NUMBERS[hint]
                got = getattr(self, name)
                if not isinstance(got, kind) or isinstance(got, bool):
                    raise ValueError(f"planner.{name} must be {expected}, got {got!r}")
