"""What the raw results say: figures of runs, comparisons of variants, and whether merging explains failing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
from jepa_rl.scripts.reporting.corrections import holm
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


def at_end(run: Run) -> float:
    """Sampled success in the last evaluation."""
    return run.last("success_sampled")


def over_budget(run: Run) -> float:
    """Sampled success, mean of all evaluations, which rewards learning soon."""
    return run.area()


@dataclass(frozen=True, kw_only=True, slots=True)
class Improvement:
    """How probably a run of a variant beats one of another on the same task."""

    probability: Interval  # mean over the tasks
    by_task: dict[str, float]  # the same for each, by name
    chance: float | None  # see ``chance``; corrected for the number of comparisons where they come from ``improvements``


def improvement(results: Results, one: str, other: str, read: Callable[[Run], float]) -> Improvement | None:
    """How probably a run of a variant beats one of the other, over the tasks that have both; None where there is none."""
    tasks = [task for task in results.tasks if results.of(task, one) and results.of(task, other)]
    if not tasks:
        return None
    ours, theirs = (scores(results, tasks, name, read) for name in (one, other))
    each = [float(beats(np.array(x), np.array(y))) for x, y in zip(ours, theirs, strict=True)]
    return Improvement(
        probability=probability_of_improvement(ours, theirs),
        by_task=dict(zip((task.name for task in tasks), each, strict=True)),
        chance=chance(ours, theirs),
    )


def improvements(results: Results, one: str, others: Sequence[str], read: Callable[[Run], float]) -> dict[str, Improvement]:
    """How probably a run of a variant beats one of each of the others that it can be compared with.

    Their chances are Holm's, for as many comparisons as there are.
    """
    found = {other: improvement(results, one, other, read) for other in others}
    there = {other: each for other, each in found.items() if each is not None}
    judged = {other: each.chance for other, each in there.items() if each.chance is not None}
    corrected = dict(zip(judged, holm([*judged.values()]), strict=True))
    return {other: replace(each, chance=corrected.get(other)) for other, each in there.items()}


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
class RankCorrelation:
    """Spearman's, with the chance of one so far from 0 where there is no relation."""

    value: float
    chance: float
    number: int  # of what is correlated

    @property
    def hurts(self) -> bool:
        """Whether more merging is shown to go with less success."""
        return self.chance < CERTAIN and self.value < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """Merging and success on a task.

    Runs of one variant are alike in both, so that all runs together would count each variant once for every seed.
    """

    between: RankCorrelation | None  # of the variants' means over seeds; None where one of the two does not vary
    within: RankCorrelation | None  # of runs, as they lie from the means of their variants
    failed: int  # runs below FAILED
    unexplained: int  # of them, those that merge no more than some run that did not fail

    @property
    def merging_hurts(self) -> bool:
        """Whether more merging is shown to go with less success, between variants or within them."""
        return any(found is not None and found.hurts for found in (self.between, self.within))


def relation(results: Results, task: Task) -> Relation:
    """Whether the variants, and the runs of one variant, that merge more succeed less on a task."""
    groups = [runs for slug in dict.fromkeys(run.cell["algo"] for run in results.runs) if (runs := results.of(task, slug))]
    share, success = ([[read(run) for run in runs] for runs in groups] for read in (merged_share, at_end))
    every_share, every_success = np.concatenate(share), np.concatenate(success)
    failed = every_success < FAILED
    most = every_share[~failed].max(initial=-1.0)
    return Relation(
        between=_rank_correlation(
            [np.array([np.mean(each) for each in figure]) for figure in (share, success)], [len(groups)]
        ),
        within=_rank_correlation(
            [np.concatenate([np.array(each) - np.mean(each) for each in figure]) for figure in (share, success)],
            [len(runs) for runs in groups],
        ),
        failed=int(failed.sum()),
        unexplained=int((every_share[failed] <= most).sum()),
    )


def relations(results: Results) -> dict[str, Relation]:
    """``relation`` of every task, by name; the chances are Holm's, for as many correlations as there are."""
    found = {task.name: relation(results, task) for task in results.tasks}
    judged = [
        (name, which, each) for name in found for which in ("between", "within") if (each := getattr(found[name], which))
    ]
    for (name, which, each), chance in zip(judged, holm([each.chance for *_, each in judged]), strict=True):
        found[name] = replace(found[name], **{which: replace(each, chance=chance)})
    return found


def _rank_correlation(pair: Sequence[np.ndarray], groups: Sequence[int]) -> RankCorrelation | None:
    """Of two figures [n], by a permutation test that deals one of them out anew within ``groups`` of these sizes."""
    ranks = [stats.rankdata(np.round(figure, 12)) for figure in pair]
    if len(ranks[0]) < 3 or any(np.ptp(each) == 0 for each in ranks):
        return None
    centred = [(each - each.mean()) / each.std() for each in ranks]
    rng, ends = np.random.default_rng(0), np.cumsum([0, *groups])
    tiled = np.tile(centred[1], (PERMUTATIONS, 1))
    parts = [rng.permuted(tiled[:, begin:end], axis=1) for begin, end in itertools.pairwise(ends)]
    expected = np.concatenate(parts, axis=1) @ centred[0] / len(centred[0])
    found = float(np.mean(centred[0] * centred[1]))
    as_far = int((np.abs(expected) >= abs(found) - 1e-9).sum())
    return RankCorrelation(value=found, chance=(as_far + 1) / (PERMUTATIONS + 1), number=len(ranks[0]))
