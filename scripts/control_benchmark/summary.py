"""The benchmark's raw results, gathered: curves, and steps to hold the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jepa_rl.scripts.benchmark_results import HOLD, CurveRun, budgets_of, finished
from jepa_rl.scripts.control_benchmark.measure import ReturnCurve
from jepa_rl.scripts.control_benchmark.tasks import ALGORITHMS, TASKS, Task


@dataclass(frozen=True, eq=False)
class Run(CurveRun):
    """A finished cell with its curve of returns."""

    @property
    def decision_ms(self) -> float:
        """Milliseconds that one decision takes."""
        return float(self.result["decision_ms"])

    @property
    def final(self) -> float:
        """Return, mean of the last ``HOLD`` evaluations."""
        return float(self.curve["return_mean"][-HOLD:].mean())

    def when_solved(self, column: str) -> float | None:
        """``column`` (env_steps, wall_seconds) where the threshold begins to be held; None where it never is."""
        if self.cell["threshold"] is None:
            return None
        return self.held_from("return_mean", self.cell["threshold"], column)


@dataclass(frozen=True)
class Results:
    """All finished cells in a folder."""

    runs: tuple[Run, ...]
    unfinished: int  # curves whose cell has no result

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises as ``finished``."""
        return cls(*finished(folder, Run, ReturnCurve.columns()))

    @property
    def tasks(self) -> list[Task]:
        """Those with results, in the order of the table, then others by name."""
        found = {run.cell["env_id"]: self._task(run) for run in self.runs}
        order = [task.env_id for task in TASKS if task.env_id in found]
        return [found[env_id] for env_id in (*order, *sorted(found.keys() - set(order)))]

    def _task(self, run: Run) -> Task:
        env_id, threshold, continuous = (run.cell[key] for key in ("env_id", "threshold", "continuous"))
        theirs, ours = budgets_of(self.runs, env_id)
        return Task(env_id, theirs.env_steps, theirs.eval_every, threshold, continuous, ours=ours)

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
