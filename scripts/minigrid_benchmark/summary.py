"""The benchmark's raw results, gathered: curves, steps to hold a success rate, and figures over seeds and tasks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from jepa_rl.scripts.minigrid_benchmark.measure import COLUMNS
from jepa_rl.scripts.minigrid_benchmark.tasks import ALGORITHMS, TASKS, Task

LEVELS = (0.5, 0.9, 0.95)
HOLD = 3  # evaluations in a row
RESAMPLES = 5_000
MIN_SEEDS = 3  # for an interval over seeds


def held_from(success: Sequence[float], level: float) -> int | None:
    """Index of the first of the first ``HOLD`` evaluations in a row with at least ``level``; None if there are none."""
    above = [rate >= level for rate in success]
    return next((first for first in range(len(above) - HOLD + 1) if all(above[first : first + HOLD])), None)


def wilson(share: float, episodes: int) -> tuple[float, float]:
    """The 95 % interval of a success rate in ``episodes`` episodes."""
    interval = stats.binomtest(round(share * episodes), episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cell with its curve."""

    result: dict[str, Any]  # all that its JSON file holds
    curve: dict[str, np.ndarray]  # by column, one entry per evaluation

    @property
    def cell(self) -> dict[str, Any]:
        """What distinguishes it from the others."""
        cell: dict[str, Any] = self.result["cell"]
        return cell

    @property
    def final(self) -> float:
        """Sampled success, mean of the last ``HOLD`` evaluations."""
        return float(self.curve["success_sampled"][-HOLD:].mean())

    @property
    def area(self) -> float:
        """Sampled success, mean of all evaluations: how soon and how well."""
        return float(self.curve["success_sampled"].mean())

    def last(self, column: str) -> float:
        """A figure of the last evaluation."""
        return float(self.curve[column][-1])

    def when_held(self, level: float, column: str) -> float | None:
        """``column`` (env_steps, wall_seconds) where ``level`` begins to be held."""
        first = held_from(self.curve["success_sampled"].tolist(), level)
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
            raise FileNotFoundError(f"{folder} has no results; run the benchmark without --render first")
        runs = [Run(json.loads(path.read_text()), read_curve(path.with_suffix(".csv"))) for path in done]
        curves = {path.stem for path in folder.glob("*-seed*.csv")}
        return cls(tuple(runs), unfinished=len(curves - {path.stem for path in done}))

    @property
    def tasks(self) -> list[Task]:
        """Those with results, in the order of the table, then others by name."""
        found = {
            run.cell["env_id"]: Task(*(run.cell[key] for key in ("env_id", "env_steps", "eval_every"))) for run in self.runs
        }
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


def read_curve(path: Path, columns: Sequence[str] = COLUMNS) -> dict[str, np.ndarray]:
    """A cell's CSV by columns; those that are no names are float64. ValueError for other columns or no rows."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != tuple(columns) or not rows:
        raise ValueError(f"{path} must have rows with the columns {', '.join(columns)}, got {reader.fieldnames}")
    names = ("task", "algo")
    return {column: np.array([row[column] for row in rows], str if column in names else np.float64) for column in columns}


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate over tasks and seeds, with its 95 % interval where every task has enough seeds."""

    value: float
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """As in a table."""
        between = "" if self.low is None or self.high is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{between}"


def interquartile_mean(scores: Sequence[Sequence[float]]) -> Interval:
    """Mean of the middle half of all runs, ``scores`` by task, each with one entry per seed (arXiv:2108.13264).

    The interval is a bootstrap's that draws seeds with replacement within each task.
    """

    def middle(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis))

    return _bootstrapped(scores, middle)


def probability_of_improvement(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Interval:
    """Chance that a run of ours beats one of theirs on the same task, mean over tasks; a tie counts half."""

    def better(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        pairs = zip(samples[: len(ours)], samples[len(ours) :], strict=True)
        per_task = [_beats(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)) for x, y in pairs]
        return np.mean(per_task, axis=0)

    return _bootstrapped([*ours, *theirs], better)


def _beats(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    difference = np.sign(x[..., :, None] - y[..., None, :])
    return (difference.mean(axis=(-2, -1)) + 1) / 2


def _bootstrapped(scores: Sequence[Sequence[float]], statistic: Callable[..., np.ndarray]) -> Interval:
    samples = [np.array(each, float) for each in scores]
    value = float(statistic(*samples))
    if min(map(len, samples)) < MIN_SEEDS:
        return Interval(value=value)
    rng = np.random.default_rng(0)
    found = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, vectorized=True, method="percentile", rng=rng
    ).confidence_interval
    return Interval(value=value, low=float(found.low), high=float(found.high))
