"""The curve of a benchmark's run: evaluations along the way, what training took up to each, written as they come."""

from __future__ import annotations

import csv
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.agent.config import from_dict
from jepa_rl.scripts.grid import Cell, checkpoint_file
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.memory import peak_rss_mb

IDENTITY = ("task", "algo", "seed", "env_steps")
COSTS = ("wall_seconds", "evaluation_seconds", "updates", "peak_memory_mb")
"""Seconds of training without any evaluation; of all evaluations so far; gradient steps; resident memory of the process."""


class Curve(BaseCallback, ABC):
    """Evaluates each time ``eval_every`` environment steps have passed, writes a row, and stops after ``env_steps``.

    A row has IDENTITY, what ``evaluate`` gives under the names ``figures``, and COSTS; subclasses say what that is.

    Our agent is kept in the cell's ``checkpoint_file`` after each evaluation, with the rows so far, for ``our_agent`` to go
    on where a run was killed; what Stable-Baselines3 saves of its algorithms is not enough for that.
    """

    figures: tuple[str, ...]

    def __init__(self, cell: Cell, file: TextIO) -> None:
        super().__init__()
        self.points: list[dict[str, Any]] = []
        self.cell = cell
        self._file = file
        self._writer = csv.DictWriter(file, self.columns(), lineterminator="\n")
        self._evaluating = 0.0

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Of the file."""
        return (*IDENTITY, *cls.figures, *COSTS)

    @abstractmethod
    def evaluate(self) -> Mapping[str, float]:
        """What the policy is worth now; must leave the training as it was."""

    @property
    def path(self) -> Path:
        """Of the file."""
        return Path(self._file.name)

    def env_steps(self) -> int:
        """Environment steps that the policy rests on; a subclass adds those that were taken before this training."""
        return self.num_timesteps

    def _on_training_start(self) -> None:
        if isinstance(self.model, JEPAAgent):
            self.points = list(self.model.attachments.get("points", ()))
        self._evaluating = self._so_far("evaluation_seconds")
        self._began = time.perf_counter() - self._so_far("wall_seconds") - self._evaluating
        self._writer.writeheader()
        self._writer.writerows(self.points)
        self._file.flush()

    def _so_far(self, cost: str) -> float:
        return float(self.points[-1][cost]) if self.points else 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps < (len(self.points) + 1) * self.cell["eval_every"]:
            return True
        point = self._point()
        self.points.append(point)
        self._writer.writerow(point)
        self._file.flush()
        if isinstance(self.model, JEPAAgent):
            began = time.perf_counter()
            self.model.attachments |= json.loads(json.dumps({"cell": self.cell, "points": self.points}))
            self.model.save(checkpoint_file(self.path.parent, self.cell))
            self._began += time.perf_counter() - began  # no part of training
        return self.num_timesteps < self.cell["env_steps"]

    def _point(self) -> dict[str, Any]:
        began = time.perf_counter()
        training = began - self._began - self._evaluating
        figures = self.evaluate()
        self._evaluating += time.perf_counter() - began
        return {
            "task": self.cell["env_id"],
            "algo": self.cell["algo"],
            "seed": self.cell["seed"],
            "env_steps": self.env_steps(),
            **figures,
            "wall_seconds": training,
            "evaluation_seconds": self._evaluating,
            "updates": gradient_updates(self.model),
            "peak_memory_mb": max(peak_rss_mb(), self._so_far("peak_memory_mb")),
        }

    def result(self) -> dict[str, Any]:
        """What the grid keeps of the run: how many points there are, and the last of them."""
        last = {name: value for name, value in self.points[-1].items() if name not in ("task", "algo", "seed")}
        return {"points": len(self.points), **last}


def train_along(curve: Curve, model: BaseAlgorithm, callbacks: Sequence[BaseCallback] = ()) -> dict[str, Any]:
    """Train for what is left of the cell's budget, and return the curve's ``result``."""
    left = curve.cell["env_steps"] - model.num_timesteps
    model.learn(left, callback=[*callbacks, curve], reset_num_timesteps=not model.num_timesteps)
    return curve.result()


def curve_file(cell: Cell, out: Path) -> Path:
    """Where the curve of a cell is written, which a run that is killed leaves behind."""
    return out / f"{cell['name']}-seed{cell['seed']}.csv"


def our_agent(cell: Cell, factory: Callable[[], gym.Env[Any, Any]], out: Path) -> JEPAAgent:
    """The cell's agent: as the last evaluation left it where a run of the cell was killed, else untrained."""
    settings, kept = cell["settings"], checkpoint_file(out, cell)
    device = settings.get("device", "cpu")
    if kept.is_file():
        agent = JEPAAgent.load(kept, factory, device=device)
        if todays_form(agent.attachments["cell"]) == json.loads(json.dumps(cell)):
            return agent
    return JEPAAgent(from_dict(AgentConfig, settings["agent"]), factory, seed=cell["seed"], device=device)


def gradient_updates(model: BaseAlgorithm) -> int:
    """Gradient steps so far; PPO itself counts passes over its rollout."""
    updates: int = model._n_updates
    if isinstance(model, PPO):
        return updates * -(-model.n_steps * model.n_envs // model.batch_size)
    return updates
