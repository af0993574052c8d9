"""The study's raw results, gathered, and what they say of alignment, harm and weights."""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from jepa_rl.scripts.alignment_study.rows import BESIDE, Base, Loss, Phase, Tasks, cells
from jepa_rl.scripts.reporting.tables import Estimate, estimate
from jepa_rl.world_model.config import Weighting

Result = dict[str, Any]
Figure = Literal["accuracy", "count_probe", "success"]
FIGURES: dict[Figure, str] = {"accuracy": "accuracy", "count_probe": "linear probe", "success": "success"}

RESAMPLES = 10_000
FEWEST_POINTS = 4  # below it a rank correlation says nothing
LEAST_DROP = 0.02  # of a figure, to be called harm


@dataclass(frozen=True)
class Results:
    """All runs in a folder."""

    runs: tuple[Result, ...]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises FileNotFoundError where the folder lacks all runs of a kind."""
        found = cls(tuple(json.loads(path.read_text()) for path in sorted(folder.glob("*-seed*.json"))))
        there = {run["cell"]["name"] for run in found.runs}
        missing = [name for name in dict.fromkeys(cell["name"] for cell in cells(1)) if name not in there]
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise FileNotFoundError(f"{folder} has no results of {shown}; run jepa-rl paper alignment first")
        return found

    def of(self, loss: Loss, tasks: Tasks, *, weighting: Weighting = "fixed", watched: bool = False) -> list[Result]:
        """The runs with these losses, one per seed."""
        return self._by_losses.get((loss, frozenset(tasks.items()), weighting, watched), [])

    @functools.cached_property
    def _by_losses(self) -> dict[tuple[Loss, frozenset[tuple[str, float]], Weighting, bool], list[Result]]:
        found: dict[Any, list[Result]] = {}
        for run in self.runs:
            cell = run["cell"]
            key = cell["loss"], frozenset(cell["tasks"].items()), cell["weighting"], cell["watched"]
            found.setdefault(key, []).append(run)
        return found

    def of_base(self, base: Base) -> list[Result]:
        """The runs that the others are set against."""
        return self.of(base.loss, base.tasks)

    def added(self, base: Base, slug: str, weight: float) -> list[Result]:
        """The runs of a base with one auxiliary more."""
        return self.of(base.loss, base.with_task(slug, weight))

    def estimate(self, runs: Sequence[Result], figure: Figure) -> Estimate:
        """A figure's mean over runs with its interval."""
        return estimate([run[figure] for run in runs])

    def shared_seeds(self, base: Base, slug: str) -> list[int]:
        """The seeds that the base and every weight of the auxiliary have; a base has more of them than what is added."""
        groups = [self.of_base(base), *(self.added(base, slug, weight) for weight in base.weights)]
        return sorted(set.intersection(*({run["cell"]["seed"] for run in runs} for runs in groups)))

    def gain(self, base: Base, slug: str, figure: Figure, *, best: bool = False) -> Estimate:
        """What the auxiliary adds to the base, seed by seed: averaged over weights, or with its best weight."""
        seeds = self.shared_seeds(base, slug)

        def by_seed(runs: Sequence[Result]) -> list[float]:
            found = {run["cell"]["seed"]: run[figure] for run in runs}
            return [found[seed] for seed in seeds]

        by_weight = [by_seed(self.added(base, slug, weight)) for weight in base.weights]
        reached = max(by_weight, key=statistics.fmean) if best else [*map(statistics.fmean, zip(*by_weight, strict=True))]
        without = by_seed(self.of_base(base))
        return estimate([ours - theirs for ours, theirs in zip(reached, without, strict=True)])

    def cosine(self, base: Base, slug: str, phase: Phase, *, watched: bool = False) -> Estimate:
        """Cosine of the auxiliary's and the dynamics' gradient over runs: its own ones, or those that only watch it."""
        if watched:
            runs = self.of(base.loss, base.tasks, watched=True)
        else:
            runs = [run for weight in base.weights for run in self.added(base, slug, weight)]
        found = [run["phases"][phase][slug]["cosine"] for run in runs]
        return estimate([cosine for cosine in found if cosine is not None])

    def share(self, base: Base, slug: str, weight: float, phase: Phase = "early") -> float:
        """The auxiliary's share of the gradient on the encoder, mean over seeds."""
        return statistics.fmean(run["phases"][phase][slug]["share"] for run in self.added(base, slug, weight))


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation over auxiliaries, with a 95 % bootstrap interval that draws auxiliaries."""

    base: str
    rho: float
    low: float
    high: float
    auxiliaries: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out 0, otherwise 0."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self) -> str:
        """As in a table."""
        return f"{self.rho:.2f} ({self.low:.2f} to {self.high:.2f})"


def rank_correlation(base: str, predictor: Sequence[float], outcome: Sequence[float]) -> Correlation:
    """Spearman's correlation of one pair per auxiliary.

    The auxiliaries are the units that are drawn, not the runs: those of one auxiliary are alike. Raises ValueError for
    fewer than four pairs, and where one side is the same for all.
    """
    pairs = np.array([predictor, outcome], float)
    if pairs.shape[1] < FEWEST_POINTS or not np.isfinite(pairs).all() or (np.ptp(pairs, axis=1) == 0).any():
        raise ValueError(
            f"a rank correlation needs {FEWEST_POINTS} pairs of different finite numbers, got {pairs.tolist()}"
        )

    def spearman(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        ranks = [stats.rankdata(side, axis=axis) for side in (x, y)]
        centred = [side - side.mean(axis=axis, keepdims=True) for side in ranks]
        spread = np.sqrt((centred[0] ** 2).sum(axis=axis) * (centred[1] ** 2).sum(axis=axis))
        # A draw of one and the same auxiliary has no order.
        return np.where(spread > 0, (centred[0] * centred[1]).sum(axis=axis) / np.where(spread > 0, spread, 1), 0.0)

    found = stats.bootstrap(
        tuple(pairs), spearman, paired=True, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    return Correlation(
        base=base,
        rho=float(stats.spearmanr(*pairs).statistic),
        low=float(found.confidence_interval.low),
        high=float(found.confidence_interval.high),
        auxiliaries=pairs.shape[1],
    )


def prediction(
    results: Results,
    base: Base,
    figure: Figure,
    phase: Phase = "early",
    *,
    watched: bool = False,
    best: bool = False,
) -> Correlation:
    """Whether the cosine foretells the gain. Auxiliaries whose cosine nothing could be said of are left out."""
    measured = {each.slug: results.cosine(base, each.slug, phase, watched=watched) for each in base.added}
    slugs = [slug for slug, cosine in measured.items() if cosine.seeds]
    gains = [results.gain(base, slug, figure, best=best).mean for slug in slugs]
    return rank_correlation(base.slug, [measured[slug].mean for slug in slugs], gains)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What an auxiliary does to the accuracy of a base at one weight."""

    base: str
    auxiliary: str
    weight: float
    share: float  # of the encoder's gradient, early
    gain: float  # of the mean accuracy; negative where it falls
    apart: bool  # every run lies on the same side of every run of the base with the same seeds

    @property
    def harms(self) -> bool:
        return self.apart and self.gain <= -LEAST_DROP


def effects(results: Results, base: Base) -> list[Effect]:
    """Of every auxiliary and weight, by auxiliary and then by weight; over the seeds that it shares with the base."""
    found = []
    for each in base.added:
        seeds = results.shared_seeds(base, each.slug)
        before = [run["accuracy"] for run in results.of_base(base) if run["cell"]["seed"] in seeds]
        for weight in base.weights:
            runs = results.added(base, each.slug, weight)
            after = [run["accuracy"] for run in runs if run["cell"]["seed"] in seeds]
            found.append(
                Effect(
                    base=base.slug,
                    auxiliary=each.slug,
                    weight=weight,
                    share=results.share(base, each.slug, weight),
                    gain=statistics.fmean(after) - statistics.fmean(before),
                    apart=max(after) < min(before) or min(after) > max(before),
                )
            )
    return found


def chance_of_harm(seeds: int) -> float:
    """How often all runs lie below as many runs of the base if the auxiliary does nothing: once in C(2n, n)."""
    return 1 / math.comb(2 * seeds, seeds)


def first_harm(found: Sequence[Effect], slug: str) -> Effect | None:
    """The auxiliary's effect at the smallest weight that harms."""
    return next((each for each in found if each.auxiliary == slug and each.harms), None)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An automatic weighting beside the reward, against the best fixed weight of the other auxiliary."""

    weighting: str
    difference: float  # of accuracy, mean over the auxiliaries
    low: float  # 95 % interval over auxiliaries, Student's t
    high: float
    better: int  # auxiliaries with which its mean is above the best fixed one's
    auxiliaries: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out 0, otherwise 0."""
        return int(self.low > 0) - int(self.high < 0)


def best_fixed(results: Results, slug: str) -> tuple[float, Estimate]:
    """The weight beside the reward with the highest mean accuracy, chosen after the fact, and that accuracy."""
    tried = [(weight, results.estimate(results.added(BESIDE, slug, weight), "accuracy")) for weight in BESIDE.weights]
    return max(tried, key=lambda each: each[1].mean)


def automatic(results: Results, slug: str, weighting: Weighting) -> list[Result]:
    """The runs of the reward and one more auxiliary, both from weight 1."""
    return results.of(BESIDE.loss, BESIDE.with_task(slug, 1.0), weighting=weighting)


def comparison(results: Results, weighting: Weighting, slugs: Sequence[str]) -> Comparison:
    """The weighting against the best fixed weight, over auxiliaries."""

    def difference(slug: str) -> float:
        reached = results.estimate(automatic(results, slug, weighting), "accuracy")
        return reached.mean - best_fixed(results, slug)[1].mean

    found = estimate([difference(slug) for slug in slugs])
    return Comparison(
        weighting=weighting,
        difference=found.mean,
        low=found.mean - found.half_width,
        high=found.mean + found.half_width,
        better=sum(value > 0 for value in found.values),
        auxiliaries=len(slugs),
    )


def swing(results: Results) -> float:
    """Standard deviation of a cosine between two looks at the same early phase of a run, over runs and auxiliaries."""
    variances = [
        statistics.variance(cosines)
        for run in results.runs
        for slug in run["cell"]["tasks"]
        if len(cosines := _cosines(run, slug)) > 1
    ]
    return float(np.sqrt(np.mean(variances)))


def _cosines(run: Result, slug: str) -> list[float]:
    return [cosine for cosine in run["looks"]["early"]["cosines"][slug] if cosine is not None]
