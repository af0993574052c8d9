"""One cell of the benchmark: train, and evaluate on held-out episodes along the way, writing the curve as it comes."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, TextIO

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent import vectorize
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.control_benchmark.baselines import make_baseline
from jepa_rl.scripts.curve import Curve, curve_file, our_agent, train_along
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.memory import forget_peak_memory

TIMED_DECISIONS = 50
SEEDS_APART = 1_000  # between the held-out episodes of one seed and those of the next

Factory = functools.partial[gym.Env[Any, Any]]


def contender(cell: Cell, factory: Factory, out: Path) -> tuple[BaseAlgorithm, PolicyPredictor]:
    """The cell's algorithm, ours as ``our_agent`` gives it and others untrained, and what to evaluate."""
    if cell["algo"] == "jepa":
        agent = our_agent(cell, factory, out)
        return agent, agent
    return make_baseline(cell["algo"], factory, cell["settings"], cell["seed"], cell["env_steps"])


class ReturnCurve(Curve):
    """Returns of held-out episodes without exploration: one per environment of ``venv``, the same ones at every point."""

    figures = ("return_mean", "return_std", "length_mean")

    def __init__(self, cell: Cell, policy: PolicyPredictor, venv: VecEnv, file: TextIO) -> None:
        super().__init__(cell, file)
        self._policy = policy
        self._venv = venv

    def evaluate(self) -> dict[str, float]:
        """Undiscounted returns, and lengths in environment steps."""
        self._venv.seed(HELDOUT_SEED + SEEDS_APART * self.cell["seed"])
        returns, lengths = evaluate_policy(
            self._policy,
            self._venv,
            n_eval_episodes=self._venv.num_envs,
            deterministic=True,
            return_episode_rewards=True,
        )
        return {
            "return_mean": float(np.mean(returns)),
            "return_std": float(np.std(returns)),
            "length_mean": float(np.mean(lengths)),
        }


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's algorithm; ``out``/NAME-seedN.csv is its curve, written as it goes.

    The result also has ``decision_ms``, the median time of a decision for one observation.
    """
    forget_peak_memory()
    factory = functools.partial(make_env, cell["env_id"])
    held = vectorize(factory, cell["episodes"])
    model, policy = contender(cell, factory, out)
    try:
        with curve_file(cell, out).open("w", newline="") as file:
            found = train_along(ReturnCurve(cell, policy, held, file), model)
        return {**found, "decision_ms": decision_milliseconds(policy, np.asarray(held.reset())[:1])}
    finally:
        held.close()


def decision_milliseconds(policy: PolicyPredictor, observation: Any) -> float:
    """Median time of ``predict`` for a batch of one observation, with the state that it hands on."""
    seconds, state = [], None
    for index in range(TIMED_DECISIONS):
        began = time.perf_counter()
        _, state = policy.predict(observation, state=state, episode_start=np.array([index == 0]), deterministic=True)
        seconds.append(time.perf_counter() - began)
    return 1_000 * float(np.median(seconds))
