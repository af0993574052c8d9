"""The benchmark's raw results, gathered: curves, steps to hold a success rate, and figures over seeds and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from jepa_rl.scripts.benchmark_results import HOLD, ComparedResults, CurveRun, budgets_of, finished
from jepa_rl.scripts.minigrid_benchmark.measure import COLUMNS
from jepa_rl.scripts.minigrid_benchmark.tasks import ALGORITHMS, TASKS, UNSEEN_TASKS, Task

LEVELS = (0.5, 0.9, 0.95)
RESAMPLES = 5_000
MIN_SEEDS = 3  # for an interval over seeds


def wilson(share: float, episodes: int) -> tuple[float, float]:
    """The 95 % interval of a success rate in ``episodes`` episodes."""
    interval = stats.binomtest(round(share * episodes), episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, eq=False)
class Run(CurveRun):
    """A finished cell with its curve of success rates."""

    @property
    def final(self) -> float:
        """Sampled success, mean of the last ``HOLD`` evaluations."""
        return float(self.curve["success_sampled"][-HOLD:].mean())

    def area(self, steps: float = float("inf")) -> float:
        """Sampled success, mean of the evaluations within this many environment steps: how soon and how well."""
        return float(self.curve["success_sampled"][self.curve["env_steps"] <= steps].mean())

    def when_held(self, level: float, column: str, *, acting: str = "sampled") -> float | None:
        """``column`` (env_steps, wall_seconds) where success begins to hold ``level``, acting sampled or greedy."""
        return self.held_from(f"success_{acting}", level, column)


class Results(ComparedResults[Run, Task]):
    """All finished cells in a folder."""

    in_order = ALGORITHMS
    env_ids = tuple(task.env_id for task in (*TASKS, *UNSEEN_TASKS))

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises as ``finished``."""
        return cls(*finished(folder, Run, COLUMNS))

    def task_of(self, env_id: str) -> Task:
        theirs, ours = budgets_of(self.runs, env_id)
        return Task(env_id, theirs.env_steps, theirs.eval_every, ours=ours)


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
    """Mean of all runs but a quarter at each end, rounded down; ``scores`` by task, an entry per seed (arXiv:2108.13264).

    The interval is a bootstrap's that draws seeds with replacement within each task.
    """

    def middle(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis))

    return _bootstrapped(scores, middle)


def probability_of_improvement(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Interval:
    """Chance that a run of ours beats one of theirs on the same task, mean over tasks; a tie counts half."""

    def better(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        pairs = zip(samples[: len(ours)], samples[len(ours) :], strict=True)
        per_task = [beats(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)) for x, y in pairs]
        return np.mean(per_task, axis=0)

    return _bootstrapped([*ours, *theirs], better)


def beats(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of pairs of x [..., n] and y [..., m] in which x is greater, ties counting half, [...]."""
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
    if found.low == found.high:  # few seeds that agree say nothing of the spread of others
        return Interval(value=value)
    return Interval(value=value, low=float(found.low), high=float(found.high))
