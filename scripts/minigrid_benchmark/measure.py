"""One cell of the benchmark: train, and evaluate on held-out episodes along the way, writing the curve as it comes."""

from __future__ import annotations

import csv
import dataclasses
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import gymnasium as gym
import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import PolicyPredictor

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.minigrid_benchmark.baselines import BASELINES, EpsilonGreedy, gradient_updates
from jepa_rl.scripts.minigrid_benchmark.evaluation import HeldOutEpisodes, Outcome
from jepa_rl.scripts.train import peak_rss_mb

Factory = functools.partial[gym.Env[Any, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A row of a cell's CSV: an evaluation, and what training took up to it."""

    task: str
    algo: str
    seed: int
    env_steps: int
    success_greedy: float
    success_sampled: float
    return_greedy: float
    return_sampled: float
    looped_share: float  # of the greedy episodes
    wall_seconds: float  # of training, without any evaluation
    evaluation_seconds: float  # of all evaluations up to and with this one
    updates: int  # gradient steps
    peak_memory_mb: float  # resident, of the process


COLUMNS = tuple(field.name for field in dataclasses.fields(Point))


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An algorithm at the start of its training, and how it is evaluated."""

    model: BaseAlgorithm
    policy: PolicyPredictor
    repeatable: bool  # see HeldOutEpisodes.run


def contender(cell: Cell, factory: Factory) -> Contender:
    """The cell's algorithm, untrained."""
    algo, settings, seed = cell["algo"], cell["settings"], cell["seed"]
    if algo == "jepa":
        agent = JEPAAgent(from_dict(AgentConfig, settings["agent"]), factory, seed=seed, device="cpu")
        return our_contender(agent)
    model = BASELINES[algo].make(factory, settings, seed, cell["env_steps"])
    policy: PolicyPredictor = model
    if isinstance(model, DQN):
        policy = EpsilonGreedy(model, settings["epsilon_end"], np.random.default_rng(HELDOUT_SEED + seed))
    return Contender(model=model, policy=policy, repeatable=True)


def our_contender(agent: JEPAAgent) -> Contender:
    """Our agent as a contender."""
    # The other planners draw their candidates, also where the best of them is taken.
    return Contender(model=agent, policy=agent, repeatable=agent.config.planner.kind in ("exhaustive", "value"))


class Episodes(Protocol):
    """Held-out episodes, as ``HeldOutEpisodes`` are of MiniGrid."""

    def run(self, policy: PolicyPredictor, *, deterministic: bool, repeatable: bool = False) -> Outcome:
        """What the policy achieves on them."""
        ...


class Curve(BaseCallback):
    """Evaluates each time ``eval_every`` environment steps have passed, writes a row, and stops after ``env_steps``."""

    def __init__(self, cell: Cell, who: Contender, held: Episodes, file: TextIO) -> None:
        super().__init__()
        self.points: list[Point] = []
        self._cell = cell
        self._who = who
        self._held = held
        self._file = file
        self._writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        self._evaluating = 0.0

    def _on_training_start(self) -> None:
        self._began = time.perf_counter()
        self._writer.writeheader()
        self._file.flush()

    def _on_step(self) -> bool:
        if self.num_timesteps < (len(self.points) + 1) * self._cell["eval_every"]:
            return True
        point = self._evaluate()
        self.points.append(point)
        self._writer.writerow(dataclasses.asdict(point))
        self._file.flush()
        return self.num_timesteps < self._cell["env_steps"]

    def _evaluate(self) -> Point:
        began = time.perf_counter()
        training = began - self._began - self._evaluating
        sampled = self._held.run(self._who.policy, deterministic=False)
        greedy = self._held.run(self._who.policy, deterministic=True, repeatable=self._who.repeatable)
        self._evaluating += time.perf_counter() - began
        return Point(
            task=self._cell["env_id"],
            algo=self._cell["algo"],
            seed=self._cell["seed"],
            env_steps=self.num_timesteps,
            success_greedy=greedy.success,
            success_sampled=sampled.success,
            return_greedy=greedy.mean_return,
            return_sampled=sampled.mean_return,
            looped_share=greedy.looped,
            wall_seconds=training,
            evaluation_seconds=self._evaluating,
            updates=gradient_updates(self._who.model),
            peak_memory_mb=peak_rss_mb(),
        )


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's algorithm and follow it.

    Held-out episodes are those of the base seed HELDOUT_SEED + seed: alike for every algorithm and at every point.
    """
    factory = functools.partial(make_env, cell["env_id"])
    held = HeldOutEpisodes(factory, cell["episodes"], HELDOUT_SEED + cell["seed"])
    return follow(cell, contender(cell, factory), held, out)


def follow(cell: Cell, who: Contender, held: Episodes, out: Path) -> dict[str, Any]:
    """Train it for the cell's budget; ``out``/NAME-seedN.csv is its curve, begun anew and written as it goes.

    Returns the last point's figures and how many ``points`` there are.
    """
    _forget_peak_memory()
    with (out / f"{cell['name']}-seed{cell['seed']}.csv").open("w", newline="") as file:
        curve = Curve(cell, who, held, file)
        who.model.learn(cell["env_steps"], callback=curve)
    last = dataclasses.asdict(curve.points[-1])
    return {"points": len(curve.points), **{name: last[name] for name in COLUMNS if name not in ("task", "algo", "seed")}}


def _forget_peak_memory() -> None:
    """Let the peak begin here, where the system can: a worker process runs one cell after the other."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
