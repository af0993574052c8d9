"""The benchmark's raw results, gathered: curves, and steps to hold the threshold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_rl.scripts.control_benchmark.measure import ReturnCurve
from jepa_rl.scripts.control_benchmark.tasks import ALGORITHMS, TASKS, Task
from jepa_rl.scripts.minigrid_benchmark.summary import HOLD, held_from, read_curve


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cell with its curve."""

    cell: dict[str, Any]
    decision_ms: float
    curve: dict[str, np.ndarray]  # by column, one entry per evaluation

    @property
    def final(self) -> float:
        """Return, mean of the last ``HOLD`` evaluations."""
        return float(self.curve["return_mean"][-HOLD:].mean())

    def last(self, column: str) -> float:
        """A figure of the last evaluation."""
        return float(self.curve[column][-1])

    def when_solved(self, column: str) -> float | None:
        """``column`` (env_steps, wall_seconds) where the threshold begins to be held; None where it never is."""
        if self.cell["threshold"] is None:
            return None
        first = held_from(self.curve["return_mean"].tolist(), self.cell["threshold"])
        return None if first is None else float(self.curve[column][first])


@dataclass(frozen=True)
class Results:
    """All finished cells in a folder."""

    runs: tuple[Run, ...]
    unfinished: int  # curves whose cell has no result

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises FileNotFoundError where the folder has no results, ValueError for a curve with other columns."""
        done = sorted(folder.glob("*-seed*.json"))
        if not done:
            raise FileNotFoundError(f"{folder} has no results; run jepa-rl benchmark control first")
        runs = []
        for path in done:
            kept = json.loads(path.read_text())
            runs.append(Run(kept["cell"], kept["decision_ms"], read_curve(path.with_suffix(".csv"), ReturnCurve.columns())))
        curves = {path.stem for path in folder.glob("*-seed*.csv")}
        return cls(tuple(runs), unfinished=len(curves - {path.stem for path in done}))

    @property
    def tasks(self) -> list[Task]:
        """Those with results, in the order of the table, then others by name."""
        keys = ("env_id", "env_steps", "eval_every", "threshold", "continuous")
        found = {run.cell["env_id"]: Task(*(run.cell[key] for key in keys)) for run in self.runs}
        order = [task.env_id for task in TASKS if task.env_id in found]
        return [found[env_id] for env_id in (*order, *sorted(found.keys() - set(order)))]

    @property
    def algorithms(self) -> list[str]:
        """Those with results."""
        found = {run.cell["algo"] for run in self.runs}
        return [name for name in ALGORITHMS if name in found]

    def of(self, task: Task, algorithm: str) -> list[Run]:
        """The runs of an algorithm on a task, one per seed."""
        return [run for run in self.runs if (run.cell["env_id"], run.cell["algo"]) == (task.env_id, algorithm)]

    @property
    def pairs(self) -> list[tuple[Task, str]]:
        """Tasks and algorithms that have runs."""
        return [(task, name) for task in self.tasks for name in self.algorithms if self.of(task, name)]
