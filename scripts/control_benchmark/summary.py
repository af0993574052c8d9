"""The benchmark's raw results, gathered: curves, and steps to hold the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jepa_rl.scripts.benchmark_results import HOLD, ComparedResults, CurveRun, budgets_of, finished
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


class Results(ComparedResults[Run, Task]):
    """All finished cells in a folder."""

    in_order = ALGORITHMS
    env_ids = tuple(task.env_id for task in TASKS)

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises as ``finished``."""
        return cls(*finished(folder, Run, ReturnCurve.columns()))

    def task_of(self, env_id: str) -> Task:
        cell = next(run.cell for run in self.runs if run.cell["env_id"] == env_id)
        theirs, ours = budgets_of(self.runs, env_id)
        return Task(env_id, theirs.env_steps, theirs.eval_every, cell["threshold"], cell["continuous"], ours=ours)
