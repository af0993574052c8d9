"""What an observation was made of, in each task; held-out observations; and how much of a latent a factor explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from minigrid.minigrid_env import MiniGridEnv
from sklearn.linear_model import RidgeCV

from jepa_rl.envs.displays import SYMBOLS
from jepa_rl.scripts.noise_study.prediction import Reader, Transitions, counting_factors, rows_of
from jepa_rl.scripts.probes import Probe, ProbeKind, probe
from jepa_rl.world_model.diagnostics import SPREAD_FLOOR

CLASSES = ("count", "shape", "bit", "cell", "direction")  # one-hot, or 0 and 1; the others are numbers
ONE_HOT_NUMBERS = ("symbols",)  # as they are: their products would be thousands
PENALTIES = np.logspace(-2, 6, 9)


def grid_factors(env: gym.Env[Any, Any], observation: np.ndarray, info: dict[str, Any]) -> dict[str, Any]:
    """Where the agent of a MiniGrid task is and looks, and the distractor's values and the symbols that show them."""
    plain = env.unwrapped
    if not isinstance(plain, MiniGridEnv):
        raise TypeError(f"grid_factors read a MiniGridEnv, got {env}")
    (x, y), width, height = plain.agent_pos, plain.width - 2, plain.height - 2
    factors = {"cell": np.eye(width * height)[(x - 1) * height + y - 1], "direction": np.eye(4)[plain.agent_dir]}
    if "distractor" in info:
        values = info["distractor"]
        factors |= {"distractor": values, "symbols": np.eye(SYMBOLS)[np.rint((SYMBOLS - 1) * (values + 0.5)).astype(int)]}
    return factors


READERS: dict[str, Reader] = {"counting": counting_factors, "bit": counting_factors, "minigrid": grid_factors}


def shown_one_hot(transitions: Transitions, highest: np.ndarray) -> Transitions:
    """Grids of symbols uint8[N, H, W, P] one-hot, as a grid encoder reads them; ``highest`` [H, W, P] is the space's.

    The distractor is what the symbols show of it: its values are none of the encoder's inputs.
    """

    def without_values(factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value for name, value in factors.items() if name != "distractor"}

    grid, counts = transitions.observation, highest.max((0, 1)) + 1
    planes = [np.eye(count, dtype=np.float32)[grid[..., plane]] for plane, count in enumerate(counts)]
    return Transitions(
        before=without_values(transitions.before),
        after=without_values(transitions.after),
        observation=np.concatenate(planes, axis=-1),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Observations, one per episode, and their factors."""

    observation: np.ndarray  # [N, *shape]
    factors: dict[str, np.ndarray]  # float64[N, d]

    def label(self, name: str) -> np.ndarray:
        """A factor that is a class as int[N]."""
        return np.unique(self.factors[name], axis=0, return_inverse=True)[1].reshape(-1)

    def varies(self, name: str) -> bool:
        """Whether the factor is there and not the same everywhere."""
        return name in self.factors and bool((self.factors[name] != self.factors[name][0]).any())


def held_out(factory: Callable[[], gym.Env[Any, Any]], read: Reader, number: int, walk: int, seed: int) -> HeldOut:
    """One observation from each of ``number`` episodes, after 0 to ``walk`` random actions.

    Of an episode that ends sooner it is the last before the end. ``seed`` is that of the actions and of the first reset.
    """
    if number < 2:
        raise ValueError(f"number must be at least 2 observations, got {number}")
    env = factory()
    env.action_space.seed(seed)
    steps = np.random.default_rng(seed).integers(walk + 1, size=number)
    observations, rows = [], []
    for index in range(number):
        observation, info = env.reset(seed=seed if index == 0 else None)
        present = rows_of(read(env, observation, info))
        for _ in range(steps[index]):
            following, _, terminated, truncated, info = env.step(env.action_space.sample())
            if terminated or truncated:
                break
            observation, present = following, rows_of(read(env, following, info))
        observations.append(observation)
        rows.append(present)
    env.close()
    return HeldOut(
        observation=np.stack(observations), factors={name: np.stack([row[name] for row in rows]) for name in rows[0]}
    )


def probe_factor(latent: np.ndarray, held: HeldOut, name: str, kind: ProbeKind, seed: int) -> Probe | None:
    """A probe of a factor, fitted to the first half of the rows, scored on the second; None if the factor does not vary."""
    if not held.varies(name):
        return None
    half = len(latent) // 2
    value = held.label(name) if name in CLASSES else held.factors[name]
    return probe(latent[:half], value[:half], latent[half:], value[half:], kind=kind, seed=seed)


def probe_in_noise(latent: np.ndarray, held: HeldOut, name: str, noise: float, seed: int) -> Probe | None:
    """A linear probe of a factor from latents [N, D] to which white noise is added: what is faint in them is lost.

    ``noise`` is its standard deviation in every dimension, in units of the latents' own (root mean square over dimensions).
    """
    spread = float(np.sqrt(latent.var(0, dtype=np.float64).mean()))
    drawn = np.random.default_rng(seed).normal(size=latent.shape)
    return probe_factor(latent + noise * spread * drawn, held, name, "linear", seed)


def explained_share(latent: np.ndarray, features: np.ndarray) -> float | None:
    """The share of the variance of latents [N, D], summed over dimensions, that is linear in features [N, F].

    Ridge regression of all dimensions on the features, fitted to the first half of the rows; R^2 on the second, at least
    0. None for latents that do not vary beyond rounding.
    """
    latent = latent.astype(np.float64)
    half = len(latent) // 2
    test = latent[half:]
    variance = test.var(0).sum()
    if variance <= (SPREAD_FLOOR**2) * np.square(test).mean(0).sum():
        return None
    fitted = RidgeCV(PENALTIES).fit(features[:half], latent[:half])
    told = fitted.predict(features[half:]).reshape(test.shape)  # it drops the axis of a single dimension
    left = np.square(test - told).mean(0).sum()
    return max(1 - float(left / variance), 0.0)


def features_of(held: HeldOut, names: Sequence[str]) -> np.ndarray | None:
    """What a latent is regressed on to see how much of it these factors explain; None if none of them varies.

    Classes: their joint class, one-hot, so that any function of them counts. Numbers: they themselves, their squares and
    products, in units of their standard deviations.
    """
    names = [name for name in names if held.varies(name)]
    if not names:
        return None
    if set(names) <= set(CLASSES):
        joint = np.concatenate([held.factors[name] for name in names], axis=1)
        index = np.unique(joint, axis=0, return_inverse=True)[1].reshape(-1)
        return np.eye(index.max() + 1)[index]
    values = np.concatenate([held.factors[name] for name in names], axis=1)
    if set(names) <= set(ONE_HOT_NUMBERS):
        return values
    unit = (values - values.mean(0)) / np.maximum(values.std(0), np.finfo(float).tiny)
    first, second = np.triu_indices(unit.shape[1])
    return np.concatenate([unit, unit[:, first] * unit[:, second]], axis=1)
