"""The order in which deep linear JEPA and MAE would learn an environment's factors, from rollouts of random actions.

The theory (arXiv:2407.03475, world_model/linear.py) has uncorrelated features with a covariance lambda of now and next and
an influence rho = lambda / variance. Factors are brought to that form by ``modes_of``. What the theory does not have:
actions (what they add to a factor drops out of lambda, a direction that they choose does not), nonlinear encoders, and
directions that turn from step to step (a drifting wave is counted with the lambda of its rotating plane).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from jepa_rl.envs.counting import IMAGE_SIZE, SHAPES, CountingEnv
from jepa_rl.scripts.counting_study.factors import mean_position
from jepa_rl.world_model.linear import OBJECTIVES, Features, Objective, fixed_point, hitting_time

EMPTY = 1e-10  # share of a factor's variance below which a direction of it does not vary (one-hot vectors have one)
STANDARD_ERRORS = 3.0  # of lambda: a covariance within them counts as 0
CHUNK = 500  # observations that are regressed at a time

Reader = Callable[[gym.Env[Any, Any], np.ndarray, dict[str, Any]], Mapping[str, Any]]
"""(environment, observation, info) to factors by name: numbers or arrays of one shape throughout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transitions:
    """Factors before and after N random actions, row by row, and the observation before. No row spans two episodes."""

    before: dict[str, np.ndarray]  # float64[N, d]
    after: dict[str, np.ndarray]  # float64[N, d]
    observation: np.ndarray  # [N, *shape]

    def __post_init__(self) -> None:
        for name, value in self.before.items():
            following = self.after.get(name)
            if value.ndim != 2 or following is None or following.shape != value.shape:
                raise ValueError(f"factor {name!r} must be [N, d] before and after, got {value.shape} before")
            if len(value) != len(self.observation):
                raise ValueError(f"factor {name!r} must have {len(self.observation)} rows, got {len(value)}")
            if not (np.isfinite(value).all() and np.isfinite(following).all()):
                raise ValueError(f"factor {name!r} is not finite")


def rows_of(factors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a Reader gives, each factor as float64[d]."""
    return {name: np.asarray(value, np.float64).reshape(-1) for name, value in factors.items()}


def random_transitions(factory: Callable[[], gym.Env[Any, Any]], read: Reader, number: int, seed: int) -> Transitions:
    """``number`` transitions under uniformly random actions; ``seed`` is that of the actions and of the first reset."""
    if number < 2:
        raise ValueError(f"number must be at least 2 transitions, got {number}")
    env = factory()
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    present = rows_of(read(env, observation, info))
    kept, befores, afters = [], [], []
    for _ in range(number):
        kept.append(observation)
        befores.append(present)
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        present = rows_of(read(env, observation, info))
        afters.append(present)
        if terminated or truncated:
            observation, info = env.reset()
            present = rows_of(read(env, observation, info))
    env.close()
    before, after = ({name: np.stack([row[name] for row in rows]) for name in present} for rows in (befores, afters))
    return Transitions(before=before, after=after, observation=np.stack(kept))


def counting_factors(env: gym.Env[Any, Any], observation: np.ndarray, info: dict[str, Any]) -> dict[str, Any]:
    """What an image of the counting environment was drawn from, and what a distractor or a bit add to it."""
    plain = env.unwrapped
    if not isinstance(plain, CountingEnv):
        raise TypeError(f"counting_factors read a CountingEnv, got {env}")
    factors = {
        "count": np.eye(plain.max_objects + 1)[info["count"]],
        "position": mean_position(observation[:IMAGE_SIZE]),
        "color": plain.color / 255,
        "shape": np.eye(len(SHAPES))[SHAPES.index(plain.shape)],
    }
    return factors | {name: info[name] for name in ("distractor", "bit") if name in info}


def as_observed(transitions: Transitions) -> Transitions:
    """The factors as a linear encoder meets them: in the units of the observation, each as large as what it explains there.

    The observation (pixels as shares of 255) is regressed on all factors at once; a factor becomes its part of the
    prediction, in coordinates of the d directions that this spans. Of a factor that shows in nonlinear ways only, such as
    where a single object is, little is left.
    """
    names = list(transitions.before)
    design = np.concatenate([transitions.before[name] for name in names], axis=1)
    design = design - design.mean(0)
    scale = 255.0 if transitions.observation.dtype == np.uint8 else 1.0
    products = np.zeros((design.shape[1], math.prod(transitions.observation.shape[1:])))
    for start in range(0, len(design), CHUNK):
        chunk = transitions.observation[start : start + CHUNK]
        products += design[start : start + CHUNK].T @ (chunk.reshape(len(chunk), -1) / scale)
    effects = np.linalg.pinv(design.T @ design, rcond=EMPTY, hermitian=True) @ products
    ends = np.cumsum([transitions.before[name].shape[1] for name in names])
    before, after = {}, {}
    for name, effect in zip(names, np.split(effects, ends[:-1]), strict=True):
        left, size, _ = np.linalg.svd(effect, full_matrices=False)
        before[name], after[name] = (part[name] @ (left * size) for part in (transitions.before, transitions.after))
    return replace(transitions, before=before, after=after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode:
    """One direction of a factor, as a feature of the theory; in squared units of the factor."""

    factor: str
    variance: float
    covariance: float  # lambda, of now and next
    error: float  # its standard error, for transitions that are independent where nothing is predictable
    influence: float  # rho = lambda / variance

    @property
    def is_predictable(self) -> bool:
        """Whether lambda is more than chance."""
        return self.covariance > STANDARD_ERRORS * self.error


def modes_of(transitions: Transitions) -> list[Mode]:
    """The modes of every factor, by falling covariance.

    The directions are the singular vectors of the factor's covariance of now and next, which are uncorrelated if the
    theory applies. They are found on the first half of the rows and measured on the second, because the largest singular
    values of pure noise are large on the rows that they come from. A direction without variance is no mode.
    """
    half = len(transitions.observation) // 2
    modes = []
    for name, before in transitions.before.items():
        after = transitions.after[name]
        x, y = (part[:half] - part[:half].mean(0) for part in (before, after))
        left, _, right = np.linalg.svd(x.T @ y)
        x, y = ((part[half:] - part[half:].mean(0)) @ basis for part, basis in ((before, left), (after, right.T)))
        variance, products = (x**2).mean(0), x * y
        covariance, error = products.mean(0), products.std(0) / math.sqrt(len(products))
        modes += [
            Mode(
                factor=name,
                variance=float(variance[i]),
                covariance=float(covariance[i]),
                error=float(error[i]),
                influence=float(covariance[i] / variance[i]),
            )
            for i in np.flatnonzero(variance > EMPTY * variance.sum())
        ]
    return sorted(modes, key=lambda mode: -mode.covariance)


def autoencoded(modes: Sequence[Mode]) -> list[Mode]:
    """The modes for an encoder that reconstructs its own observation: lambda is the variance, rho is 1, noise counts."""
    return [replace(mode, covariance=mode.variance, error=0.0, influence=1.0) for mode in modes]


def learning_times(
    objective: Objective, modes: Sequence[Mode], *, depth: int, scale: float, fraction: float = 0.5
) -> np.ndarray:
    """When an encoder of ``depth`` layers, started at weight ``scale``, has learned each mode: the paper's time, [M].

    A mode is learned when its weight is ``fraction`` of where it ends. It never is (inf) if its lambda is chance, or if it
    would end with a weight about as small as at the start: ``fraction`` of the end is at most ``scale``.
    """
    times = np.full(len(modes), np.inf)
    for index, mode in enumerate(modes):
        if mode.is_predictable:
            feature = Features.of(covariance=mode.covariance, influence=mode.influence, depth=depth, scale=scale)
            if scale < fraction * fixed_point(objective, feature):
                times[index] = hitting_time(objective, feature, fraction)
    return times


def learning_order(
    modes: Sequence[Mode], *, depth: int, scale: float, fraction: float = 0.5
) -> dict[Objective, dict[str, float]]:
    """For JEPA and for MAE, the factors in the order in which their first mode is learned, and when; inf is never."""
    order: dict[Objective, dict[str, float]] = {}
    for objective in OBJECTIVES:
        first: dict[str, float] = {}
        times = learning_times(objective, modes, depth=depth, scale=scale, fraction=fraction)
        for mode, time in zip(modes, times.tolist(), strict=True):
            first[mode.factor] = min(first.get(mode.factor, math.inf), time)
        order[objective] = dict(sorted(first.items(), key=lambda entry: entry[1]))
    return order
