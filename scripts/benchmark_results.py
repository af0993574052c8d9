"""What the benchmarks share of tasks and raw results: budgets, curves, what is held from when, how far the grid is."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from jepa_rl.scripts.reporting.paragraphs import completeness

HOLD = 3  # evaluations in a row

Entry = tuple[str, int, str, int]
"""Environment, steps of training, who was trained, seed: what a grid plans and a run has done."""


@dataclass(frozen=True)
class Budget:
    """How long a task is trained on, and how often evaluated."""

    env_id: str
    env_steps: int  # of training
    eval_every: int  # environment steps

    def __post_init__(self) -> None:
        if self.env_steps < 1 or self.eval_every < 1 or self.env_steps % self.eval_every:
            raise ValueError(
                f"{self.env_id}: the budget must be a positive multiple of the evaluation interval, "
                f"got {self.env_steps} and {self.eval_every}"
            )


@dataclass(frozen=True)
class ComparedTask(Budget):
    """A task that our agent shares with baselines; a step of ours takes as long as many of theirs, so they may get more."""

    ours: tuple[int, int] | None = field(default=None, kw_only=True)
    """Environment steps and evaluation interval of our agent, where they are not those of the baselines."""

    def budget(self, algorithm: str) -> Budget:
        """What an algorithm gets; ValueError where ours is no multiple of its interval."""
        if algorithm == "jepa" and self.ours is not None:
            return Budget(self.env_id, *self.ours)
        return self

    def interval(self, our_name: str) -> str:
        """The evaluation interval, as in "Pendulum every 500"."""
        if self.ours is None or self.ours[1] == self.eval_every:
            return f"every {self.eval_every:,}"
        return f"every {self.eval_every:,} ({our_name}: {self.ours[1]:,})"


@dataclass(frozen=True, eq=False)
class CurveRun:
    """A finished cell with its curve."""

    result: dict[str, Any]  # all that its JSON file holds
    curve: dict[str, np.ndarray]  # by column, one entry per evaluation

    @property
    def cell(self) -> dict[str, Any]:
        """What distinguishes it from the others."""
        cell: dict[str, Any] = self.result["cell"]
        return cell

    @property
    def entry(self) -> Entry:
        """What of a grid it is."""
        cell = self.cell
        return cell["env_id"], cell["env_steps"], cell["algo"], cell["seed"]

    def last(self, column: str) -> float:
        """A figure of the last evaluation."""
        return float(self.curve[column][-1])

    def held_from(self, column: str, level: float, told: str) -> float | None:
        """``told`` (env_steps, wall_seconds) where ``column`` begins to hold ``level``; None where it never does."""
        first = held_from(self.curve[column].tolist(), level)
        return None if first is None else float(self.curve[told][first])


RunT = TypeVar("RunT", bound=CurveRun)


def held_from(values: Sequence[float], level: float) -> int | None:
    """Index of the first of the first ``HOLD`` evaluations in a row with at least ``level``; None if there are none."""
    above = [value >= level for value in values]
    return next((first for first in range(len(above) - HOLD + 1) if all(above[first : first + HOLD])), None)


def read_curve(path: Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """A cell's CSV by columns; those that are no names are float64. ValueError for other columns or no rows."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != tuple(columns) or not rows:
        raise ValueError(f"{path} must have rows with the columns {', '.join(columns)}, got {reader.fieldnames}")
    names = ("task", "algo")
    return {column: np.array([row[column] for row in rows], str if column in names else np.float64) for column in columns}


def finished(folder: Path, run_class: type[RunT], columns: Sequence[str]) -> tuple[tuple[RunT, ...], int]:
    """The finished cells in a folder with their curves, and how many curves have no result yet.

    Raises FileNotFoundError where there are no results, ValueError for a curve with other columns or another number
    of points than its result says.
    """
    done = sorted(folder.glob("*-seed*.json"))
    if not done:
        raise FileNotFoundError(f"{folder} has no results; run the benchmark without --render first")
    runs = tuple(_finished_run(path, run_class, columns) for path in done)
    return runs, len({path.stem for path in folder.glob("*-seed*.csv")} - {path.stem for path in done})


def _finished_run(path: Path, run_class: type[RunT], columns: Sequence[str]) -> RunT:
    result, curve = json.loads(path.read_text()), read_curve(path.with_suffix(".csv"), columns)
    if len(curve["env_steps"]) != result["points"]:
        raise ValueError(
            f"{path.with_suffix('.csv')} has {len(curve['env_steps'])} rows, {path.name} says {result['points']}; "
            "move both away and run the cell again"
        )
    return run_class(result, curve)


def budgets_of(runs: Sequence[CurveRun], env_id: str) -> tuple[Budget, tuple[int, int] | None]:
    """What the baselines got on a task, and ours as in ``ComparedTask``; both are ours where there are no baselines."""
    found = {
        run.cell["algo"]: (run.cell["env_steps"], run.cell["eval_every"]) for run in runs if run.cell["env_id"] == env_id
    }
    theirs = [budget for name, budget in found.items() if name != "jepa"]
    return Budget(env_id, *(theirs[0] if theirs else found["jepa"])), found.get("jepa")


TaskT = TypeVar("TaskT", bound=ComparedTask)


@dataclass(frozen=True)
class ComparedResults(ABC, Generic[RunT, TaskT]):
    """All finished cells in a folder, of algorithms that are compared on tasks."""

    runs: tuple[RunT, ...]
    unfinished: int  # curves whose cell has no result

    in_order: ClassVar[tuple[str, ...]]
    """The algorithms that may be compared."""
    env_ids: ClassVar[tuple[str, ...]]
    """Those of the benchmark's own tasks."""

    @abstractmethod
    def task_of(self, env_id: str) -> TaskT:
        """The task of this id, with the budgets that its runs had."""

    @property
    def tasks(self) -> list[TaskT]:
        """Those with results, in the order of the benchmark, then others by name."""
        found = {run.cell["env_id"] for run in self.runs}
        order = [env_id for env_id in self.env_ids if env_id in found]
        return [self.task_of(env_id) for env_id in (*order, *sorted(found - set(order)))]

    @property
    def algorithms(self) -> list[str]:
        """Those with results."""
        found = {run.cell["algo"] for run in self.runs}
        return [name for name in self.in_order if name in found]

    @property
    def pairs(self) -> list[tuple[TaskT, str]]:
        """Tasks and algorithms that have runs."""
        return [(task, name) for task in self.tasks for name in self.algorithms if self.of(task, name)]

    def of(self, task: TaskT, algorithm: str) -> list[RunT]:
        """The runs of an algorithm on a task, one per seed."""
        return [run for run in self.runs if (run.cell["env_id"], run.cell["algo"]) == (task.env_id, algorithm)]


def budgets_text(env_steps: Mapping[str, int]) -> str:
    """Budgets by name as in "within 20,000 (JEPA), 50,000 (PPO) steps"; one number where all are the same."""
    if len(set(env_steps.values())) == 1:
        return f"{next(iter(env_steps.values())):,}"
    return ", ".join(f"{steps:,} ({name})" for name, steps in env_steps.items())


# Of the pages that report several seeds.
SEEDS_OVERLAP = """Environment i of seed s begins its training episodes where environment 0 of seed s + i does, so that
neighbouring seeds share most starts; weights and actions differ. Intervals take seeds as independent."""


def state_of(grid: AbstractSet[Entry], runs: Sequence[CurveRun], unfinished: int) -> str:
    """What a page rests on, in sentences."""
    done = {run.entry for run in runs}
    lines = []
    if grid & done:
        lines.append(completeness(done, grid))
    else:
        lines.append(f"Not the benchmark itself: {len(done)} runs of other tasks or budgets.")
    if unfinished:
        lines.append(f"Curves of {unfinished} unfinished runs lie beside the results and are left out.")
    return " ".join(lines)


def holders(found: Mapping[str, Sequence[float | None]]) -> str:
    """Who holds something from how many steps on, by name and seed: those with most seeds first, then by steps."""
    share = {name: np.mean([step is not None for step in steps]) for name, steps in found.items()}
    mean = {name: np.mean([step for step in steps if step is not None] or [np.inf]) for name, steps in found.items()}
    order = sorted(found, key=lambda name: (-share[name], mean[name]))
    return ", ".join(_holder(name, found[name]) for name in order)


def _holder(name: str, steps: Sequence[float | None]) -> str:
    held = [step for step in steps if step is not None]
    if not held:
        return f"{name} never"
    seeds = "" if len(steps) == 1 else f" ({len(held)} of {len(steps)} seeds)"
    return f"{name} from {np.mean(held):,.0f} steps on{seeds}"
