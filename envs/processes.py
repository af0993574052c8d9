"""Random processes of known variance and linear predictability, for distractors.

Each has K components of mean 0 and variance 1, stationary from the first step of an episode, and a predictability p: the
R^2 of the best linear prediction of the next K numbers from the present ones. p = a^2 where a is what the prediction
multiplies by (the coefficient of an AR(1)), so that a = sqrt(p).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces


class Process(Protocol):
    """K numbers that change with every step; ``peak`` bounds their magnitude."""

    size: int
    peak: float

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the first numbers of an episode, float64[K]."""
        ...

    def step(self, action: Any, rng: np.random.Generator) -> np.ndarray:
        """The numbers after ``action``, float64[K]."""
        ...


class Noise:
    """Independent components: fresh noise at p = 0, slow noise as p grows, frozen for the episode at p = 1.

    A component is a Gaussian AR(1), mapped monotonically to a uniform variable because pixels are bounded. The map lowers
    the correlation from r to (6/pi) arcsin(r/2) (Pearson 1907), which the choice of r makes up for.
    """

    peak = math.sqrt(3)

    def __init__(self, size: int, predictability: float) -> None:
        self.size = size
        # The sine is rounded: at p = 1 a little noise would be left.
        self.correlation = 2 * math.sin(math.pi / 6 * math.sqrt(predictability)) if predictability < 1 else 1.0

    def start(self, rng: np.random.Generator) -> np.ndarray:
        self.gaussian = rng.standard_normal(self.size)
        return self._uniform()

    def step(self, action: Any, rng: np.random.Generator) -> np.ndarray:
        fresh = rng.standard_normal(self.size)
        self.gaussian = self.correlation * self.gaussian + math.sqrt(1 - self.correlation**2) * fresh
        return self._uniform()

    def _uniform(self) -> np.ndarray:
        """The Gaussian's distribution function, stretched to [-peak, peak]."""
        return np.array([self.peak * math.erf(value / math.sqrt(2)) for value in self.gaussian.tolist()])


class Pattern:
    """A wave over the K components that drifts by 1/``period`` of its length per step, from a phase drawn per episode.

    Predictable but for a jump to a random phase, which a step makes with probability 1 - sqrt(p).
    """

    peak = math.sqrt(2)

    def __init__(self, size: int, predictability: float, period: float) -> None:
        if size < 3:
            raise ValueError(f"a pattern needs at least 3 components for its phase to be visible, got {size}")
        if not 2 < period < math.inf:
            raise ValueError(f"period must be more than 2 steps for the direction of the drift to be visible, got {period}")
        self.size = size
        self.drift = 2 * math.pi / period
        self.jump = 1 - math.sqrt(predictability)
        self.place = 2 * math.pi / size * np.arange(size)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        self.phase = rng.uniform(0, 2 * math.pi)
        return self._wave()

    def step(self, action: Any, rng: np.random.Generator) -> np.ndarray:
        jumps, phase = rng.random() < self.jump, rng.uniform(0, 2 * math.pi)
        self.phase = phase if jumps else self.phase + self._shift(action)
        return self._wave()

    def _shift(self, action: Any) -> float:
        return self.drift

    def _wave(self) -> np.ndarray:
        # The crest moves towards higher components as the phase grows.
        return self.peak * np.cos(self.place - self.phase)


class ControllablePattern(Pattern):
    """A wave that the action moves: by the full drift forward at its highest value, backward at its lowest.

    In between in proportion; of several action dimensions the mean counts. The linear prediction of p knows the action.
    """

    def __init__(self, size: int, predictability: float, period: float, action_space: spaces.Space[Any]) -> None:
        super().__init__(size, predictability, period)
        low, high = _bounds(action_space)
        with np.errstate(over="ignore", invalid="ignore"):
            span = (high - low).astype(np.float64)
        if not np.isfinite(span).all() or not (span > 0).any():
            raise ValueError(f"a controllable pattern needs a bounded choice of actions, got action space {action_space}")
        self.low, self.span = low, span

    def _shift(self, action: Any) -> float:
        offset = np.asarray(action, np.float64) - self.low
        share = np.divide(offset, self.span, out=np.full(offset.shape, 0.5), where=self.span > 0)
        return self.drift * float((2 * share - 1).mean())


class Flip:
    """One component that is -1 or 1 with equal odds and changes its sign with probability (1 - sqrt(p)) / 2 per step."""

    size = 1
    peak = 1.0

    def __init__(self, predictability: float) -> None:
        self.chance = (1 - math.sqrt(predictability)) / 2
        self.value = -1.0  # until the first episode

    def start(self, rng: np.random.Generator) -> np.ndarray:
        self.value = 1.0 if rng.random() < 0.5 else -1.0
        return np.array([self.value])

    def step(self, action: Any, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < self.chance:
            self.value = -self.value
        return np.array([self.value])


def _bounds(space: spaces.Space[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action, as arrays of an action's shape."""
    if isinstance(space, spaces.Box):
        return space.low.astype(np.float64), space.high.astype(np.float64)
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape), np.ones(space.shape)
    raise ValueError(
        "a controllable pattern needs Discrete, MultiDiscrete, MultiBinary or bounded Box actions, got action space "
        f"{space}; gymnasium.wrappers.TransformAction makes it one"
    )
