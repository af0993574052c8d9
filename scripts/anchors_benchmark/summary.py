"""What the raw results say: figures of runs, comparisons of variants, and whether merging explains failing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jepa_rl.scripts.minigrid_benchmark.page import scores
from jepa_rl.scripts.minigrid_benchmark.summary import (
    MIN_SEEDS,
    Interval,
    Results,
    Run,
    beats,
    probability_of_improvement,
)
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.reporting.tables import estimate

FRACTION = "0.1"  # of the mean distance between states that the task tells apart: nearer ones count as merged
FAILED = 0.5  # success below which a run failed
CERTAIN = 0.05  # chance of the data without a relation or difference, below which one is claimed
PERMUTATIONS = 10_000


def merged_share(run: Run, fraction: str = FRACTION) -> float:
    """Of the pairs of states that the task tells apart and that look different, the share that the encoder merges."""
    found = run.result["representation"]
    return float(found["merged_pairs"][fraction] / found["separable_pairs"])


def merged_states(run: Run) -> float:
    """Share of the states with at least one partner that they should be told from."""
    found = run.result["representation"]
    return float(found["merged_states"][FRACTION] / found["states"])


def effective_rank(run: Run) -> float:
    """Of the latents of all known states."""
    return float(run.result["representation"]["effective_rank"])


def mean(runs: Sequence[Run], read: Callable[[Run], float], digits: int = 2) -> str:
    """A figure's mean over seeds with its 95 % interval, as in a table."""
    return estimate([read(run) for run in runs]).text(digits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Improvement:
    """How probably a run of a variant beats one of another on the same task."""

    probability: Interval
    chance: float | None  # see ``chance``


def improvement(results: Results, one: str, other: str, read: Callable[[Run], float]) -> Improvement | None:
    """How probably a run of a variant beats one of the other, over the tasks that have both; None where there is none."""
    tasks = [task for task in results.tasks if results.of(task, one) and results.of(task, other)]
    if not tasks:
        return None
    ours, theirs = (scores(results, tasks, name, read) for name in (one, other))
    return Improvement(probability=probability_of_improvement(ours, theirs), chance=chance(ours, theirs))


def chance(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float | None:
    """How likely a probability of improvement so far from a half is if it made no difference which variant a run is of.

    The two-sided permutation test: runs change places within their tasks. None where there are too few seeds. A bootstrap
    of few seeds is too sure of itself: of four that all beat four others it knows no other outcome.
    """
    if min(map(len, [*ours, *theirs])) < MIN_SEEDS:
        return None
    rng, found, expected = np.random.default_rng(0), [], []
    for x, y in zip(ours, theirs, strict=True):
        shuffled = rng.permuted(np.tile([*x, *y], (PERMUTATIONS, 1)), axis=1)
        expected.append(beats(shuffled[:, : len(x)], shuffled[:, len(x) :]))
        found.append(beats(np.array(x), np.array(y)))
    distance = abs(np.mean(found) - 0.5) - 1e-9
    as_far = int((np.abs(np.mean(expected, axis=0) - 0.5) >= distance).sum())
    return (as_far + 1) / (PERMUTATIONS + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """Merging and success over all runs of a task."""

    runs: int
    rank_correlation: float | None  # Spearman's, of merged share and final success; None where one of them does not vary
    chance: float | None  # of one so far from 0 without a relation
    failed: int  # runs below FAILED
    unexplained: int  # of them, those that merge no more than some run that did not fail

    @property
    def merging_hurts(self) -> bool:
        """Whether the runs that merge more are shown to succeed less."""
        if self.rank_correlation is None or self.chance is None:
            return False
        return self.chance < CERTAIN and self.rank_correlation < 0


def relation(results: Results, task: Task) -> Relation:
    """Whether the runs of a task that merge more succeed less."""
    runs = [run for run in results.runs if run.cell["env_id"] == task.env_id]
    share, success = np.array([merged_share(run) for run in runs]), np.array([run.final for run in runs])
    failed = success < FAILED
    most = share[~failed].max(initial=-1.0)
    found = None
    if len(runs) > 2 and np.ptp(share) > 0 and np.ptp(success) > 0:
        found = stats.spearmanr(share, success)
    return Relation(
        runs=len(runs),
        rank_correlation=None if found is None else float(found.statistic),
        chance=None if found is None else float(found.pvalue),
        failed=int(failed.sum()),
        unexplained=int((share[failed] <= most).sum()),
    )
