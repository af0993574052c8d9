"""One cell of the benchmark: train, and evaluate on held-out episodes along the way, writing the curve as it comes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import gymnasium as gym
import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent import JEPAAgent
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.curve import Curve as BaseCurve
from jepa_rl.scripts.curve import curve_file, our_agent, train_along
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.memory import forget_peak_memory
from jepa_rl.scripts.minigrid_benchmark.baselines import BASELINES, EpsilonGreedy
from jepa_rl.scripts.minigrid_benchmark.evaluation import Episodes, HeldOutEpisodes, PlainEpisodes
from jepa_rl.scripts.minigrid_benchmark.tasks import PREFIX

Factory = functools.partial[gym.Env[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An algorithm at the start of its training, and how it is evaluated."""

    model: BaseAlgorithm
    policy: PolicyPredictor
    repeatable: bool  # see HeldOutEpisodes.run
    callbacks: tuple[BaseCallback, ...] = ()  # that its training needs


def contender(cell: Cell, factory: Factory, out: Path) -> Contender:
    """The cell's algorithm: ours as ``our_agent`` gives it, others untrained."""
    algo, settings, seed = cell["algo"], cell["settings"], cell["seed"]
    if algo == "jepa":
        return our_contender(our_agent(cell, factory, out))
    model = BASELINES[algo].make(factory, settings, seed, cell["env_steps"])
    policy: PolicyPredictor = model
    if isinstance(model, DQN):
        policy = EpsilonGreedy(model, settings["epsilon_end"], np.random.default_rng(HELDOUT_SEED + seed))
    return Contender(model=model, policy=policy, repeatable=True)


def our_contender(agent: JEPAAgent) -> Contender:
    """Our agent as a contender."""
    # The other planners draw their candidates, also where the best of them is taken; who remembers decides anew.
    planner = agent.config.planner
    repeatable = planner.kind in ("exhaustive", "value") and not planner.revisit_cost
    return Contender(model=agent, policy=agent, repeatable=repeatable)


def heldout_episodes(cell: Cell, factory: Factory, wrap: Callable[[VecEnv], VecEnv] | None = None) -> Episodes:
    """Those of the cell's seed, alike for every algorithm and at every point; ``wrap`` as for ``PlainEpisodes``."""
    episodes, seed = cell["episodes"], cell["seed"]
    if wrap is None and cell["env_id"].startswith(PREFIX):
        return HeldOutEpisodes(factory, episodes, HELDOUT_SEED + seed)
    return PlainEpisodes(factory, episodes, seed, wrap or (lambda venv: venv))


class Curve(BaseCurve):
    """Success and return of held-out episodes, sampled and greedy."""

    figures: tuple[str, ...] = ("success_greedy", "success_sampled", "return_greedy", "return_sampled", "looped_share")

    def __init__(self, cell: Cell, who: Contender, held: Episodes, file: TextIO) -> None:
        super().__init__(cell, file)
        self._who = who
        self._held = held

    def evaluate(self) -> dict[str, float]:
        """Returns as MiniGrid pays them; ``looped_share`` is that of the greedy episodes."""
        sampled = self._held.run(self._who.policy, deterministic=False)
        greedy = self._held.run(self._who.policy, deterministic=True, repeatable=self._who.repeatable)
        return {
            "success_greedy": greedy.success,
            "success_sampled": sampled.success,
            "return_greedy": greedy.mean_return,
            "return_sampled": sampled.mean_return,
            "looped_share": greedy.looped,
        }


COLUMNS = Curve.columns()


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's algorithm and follow it.

    Held-out episodes are those of the base seed HELDOUT_SEED + seed: alike for every algorithm and at every point.
    """
    factory = functools.partial(make_env, cell["env_id"], cell["settings"].get("env"))
    held = HeldOutEpisodes(factory, cell["episodes"], HELDOUT_SEED + cell["seed"])
    return follow(cell, contender(cell, factory, out), held, out)


def follow(cell: Cell, who: Contender, held: Episodes, out: Path, curve_class: type[Curve] = Curve) -> dict[str, Any]:
    """Train it for what is left of the cell's budget; ``out``/NAME-seedN.csv is its curve, written as it goes.

    Returns the last point's figures and how many ``points`` there are.
    """
    forget_peak_memory()
    with curve_file(cell, out).open("w", newline="") as file:
        return train_along(curve_class(cell, who, held, file), who.model, who.callbacks)


def follow_agent(cell: Cell, out: Path) -> tuple[JEPAAgent, dict[str, Any]]:
    """Train our agent with the settings of a cell, of any task; the trained agent, and what ``follow`` returns."""
    factory = functools.partial(make_env, cell["env_id"])
    agent = our_agent(cell, factory, out)
    return agent, follow(cell, our_contender(agent), heldout_episodes(cell, factory), out)
