"""The curve of a benchmark's run: evaluations along the way, what training took up to each, written as they come."""

from __future__ import annotations

import csv
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.train import peak_rss_mb

IDENTITY = ("task", "algo", "seed", "env_steps")
COSTS = ("wall_seconds", "evaluation_seconds", "updates", "peak_memory_mb")
"""Seconds of training without any evaluation; of all evaluations so far; gradient steps; resident memory of the process."""


class Curve(BaseCallback, ABC):
    """Evaluates each time ``eval_every`` environment steps have passed, writes a row, and stops after ``env_steps``.

    A row has IDENTITY, what ``evaluate`` gives under the names ``figures``, and COSTS; subclasses say what that is.
    """

    figures: tuple[str, ...]

    def __init__(self, cell: Cell, file: TextIO) -> None:
        super().__init__()
        self.points: list[dict[str, Any]] = []
        self._cell = cell
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

    def env_steps(self) -> int:
        """Environment steps that the policy rests on; a subclass adds those that were taken before this training."""
        return self.num_timesteps

    def _on_training_start(self) -> None:
        self._began = time.perf_counter()
        self._writer.writeheader()
        self._file.flush()

    def _on_step(self) -> bool:
        if self.num_timesteps < (len(self.points) + 1) * self._cell["eval_every"]:
            return True
        point = self._point()
        self.points.append(point)
        self._writer.writerow(point)
        self._file.flush()
        return self.num_timesteps < self._cell["env_steps"]

    def _point(self) -> dict[str, Any]:
        began = time.perf_counter()
        training = began - self._began - self._evaluating
        figures = self.evaluate()
        self._evaluating += time.perf_counter() - began
        return {
            "task": self._cell["env_id"],
            "algo": self._cell["algo"],
            "seed": self._cell["seed"],
            "env_steps": self.env_steps(),
            **figures,
            "wall_seconds": training,
            "evaluation_seconds": self._evaluating,
            "updates": gradient_updates(self.model),
            "peak_memory_mb": peak_rss_mb(),
        }

    def result(self) -> dict[str, Any]:
        """What the grid keeps of the run: how many points there are, and the last of them."""
        last = {name: value for name, value in self.points[-1].items() if name not in ("task", "algo", "seed")}
        return {"points": len(self.points), **last}


def gradient_updates(model: BaseAlgorithm) -> int:
    """Gradient steps so far; PPO itself counts passes over its rollout."""
    updates: int = model._n_updates
    if isinstance(model, PPO):
        return updates * -(-model.n_steps * model.n_envs // model.batch_size)
    return updates


def forget_peak_memory() -> None:
    """Let the peak begin here, where the system can: a worker process runs one cell after the other."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
