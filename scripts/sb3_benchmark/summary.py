"""The benchmark's raw results, gathered: curves over all environment steps or PPO's own, and what a variant gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from jepa_rl.scripts.benchmark_results import CurveRun, finished
from jepa_rl.scripts.minigrid_benchmark.summary import MIN_SEEDS, Interval
from jepa_rl.scripts.sb3_benchmark.measure import COLUMNS
from jepa_rl.scripts.sb3_benchmark.tasks import SLUGS, TASKS

Clock = Literal["env_steps", "own_steps", "imagined_steps"]
"""All environment steps, pre-training included; those of PPO alone; those that PPO imagined."""

LEVEL = 0.9
SUCCESS = "success_sampled"
ROUNDING = 1e-9  # of a mean; a difference below it is none


@dataclass(frozen=True, eq=False)
class Run(CurveRun):
    """A finished cell with its curve."""

    @property
    def pretraining(self) -> dict[str, Any] | None:
        """Figures of the agent that it began with."""
        figures: dict[str, Any] | None = self.result["pretraining"]
        return figures

    @property
    def earlier_steps(self) -> int:
        """Environment steps of the pre-training."""
        return int(self.pretraining["env_steps"]) if self.pretraining else 0

    def at(self, step: float, clock: Clock = "env_steps", column: str = SUCCESS) -> float | None:
        """A figure of the first evaluation at ``step`` or after; None before PPO took its own steps, and after its last."""
        steps = self.curve[clock]
        if step <= (self.earlier_steps if clock == "env_steps" else 0) or step > steps[-1]:
            return None
        return float(self.curve[column][np.searchsorted(steps, step)])

    def mean_between(self, first: float, last: float, clock: Clock) -> float:
        """Sampled success, mean of the evaluations from one step to another."""
        steps = self.curve[clock]
        return float(self.curve[SUCCESS][(steps >= first) & (steps <= last)].mean())

    def when_held(self, clock: Clock) -> float | None:
        """Steps at which ``LEVEL`` begins to be held."""
        return self.held_from(SUCCESS, LEVEL, clock)


@dataclass(frozen=True)
class Results:
    """All finished cells in a folder."""

    runs: tuple[Run, ...]
    unfinished: int  # curves whose cell has no result

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises as ``finished``."""
        return cls(*finished(folder, Run, COLUMNS))

    @property
    def env_ids(self) -> list[str]:
        """Tasks with results, in the order of the grid."""
        found = {run.cell["env_id"] for run in self.runs}
        return [each.env_id for each in TASKS if each.env_id in found]

    def of(self, env_id: str, slug: str) -> list[Run]:
        """The runs of a variant on a task, one per seed."""
        return [run for run in self.runs if (run.cell["env_id"], run.cell["algo"]) == (env_id, slug)]

    def variants(self, env_id: str) -> list[str]:
        """Those with results on a task."""
        return [slug for slug in SLUGS if self.of(env_id, slug)]


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean of ours minus mean of theirs, with Welch's 95 % interval where both have enough seeds."""
    value = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < MIN_SEEDS:
        return Interval(value=value)
    shares = np.array([np.var(each, ddof=1) / len(each) for each in (ours, theirs)])
    half = 0.0
    if shares.sum() > 0:
        freedom = shares.sum() ** 2 / (shares**2 / [len(ours) - 1, len(theirs) - 1]).sum()
        half = float(stats.t.ppf(0.975, freedom) * np.sqrt(shares.sum()))
    return Interval(value=value, low=value - half, high=value + half)


def over_the_same(ours: Sequence[Run], theirs: Sequence[Run], clock: Clock) -> Interval | None:
    """How much more success ours have than theirs, mean over the evaluations in the steps that both were evaluated in.

    With the clock "env_steps" those are the steps after the longer pre-training. None where there are no such steps.
    """
    runs = [*ours, *theirs]
    first = max(run.curve[clock][0] for run in runs)
    last = min(run.curve[clock][-1] for run in runs)
    if first > last:
        return None
    return difference(*([run.mean_between(first, last, clock) for run in each] for each in (ours, theirs)))


def at_the_end(ours: Sequence[Run], theirs: Sequence[Run]) -> Interval:
    """How much more success ours have with their final weights."""
    return difference(*([run.last(SUCCESS) for run in each] for each in (ours, theirs)))


def mean_curve(runs: Sequence[Run], clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """Steps [K] and success [seeds, K] of the evaluations that all runs have."""
    points = min(len(run.curve[clock]) for run in runs)
    steps = np.mean([run.curve[clock][:points] for run in runs], axis=0)
    return steps, np.array([run.curve[SUCCESS][:points] for run in runs])


def reaches(runs: Sequence[Run], success: float) -> float | None:
    """Environment steps at which the mean curve first has ``success``; None where it never does."""
    steps, rates = mean_curve(runs, "env_steps")
    there = np.flatnonzero(rates.mean(axis=0) >= success - ROUNDING)
    return float(steps[there[0]]) if len(there) else None


def most(runs: Sequence[Run]) -> float:
    """The most success of the mean curve."""
    return float(mean_curve(runs, "env_steps")[1].mean(axis=0).max())


def budget(runs: Sequence[Run]) -> int:
    """Environment steps that they were given."""
    return max(run.cell["env_steps"] for run in runs)


def figures_of(runs: Sequence[Run], read: Callable[[Run], float | None]) -> list[float]:
    """A figure of every run that has it."""
    return [figure for figure in map(read, runs) if figure is not None]
