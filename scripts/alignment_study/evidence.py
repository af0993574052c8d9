"""What the study found, in the few figures that ``jepa-rl advise`` rests on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jepa_rl.agent.config import from_dict
from jepa_rl.scripts.alignment_study.rows import AUTOMATIC, BASES, LOSABLE, WEIGHTED
from jepa_rl.scripts.alignment_study.summary import (
    Comparison,
    Correlation,
    Effect,
    Results,
    comparison,
    effects,
    first_harm,
    prediction,
    swing,
)
from jepa_rl.scripts.run_folder import write_json

KEPT = Path(__file__).with_name("evidence.json")  # written by jepa-rl paper alignment --render, from a whole grid


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The study's findings."""

    runs: int
    updates: int  # of each run
    swing: float  # standard deviation of a cosine between two moments of one run
    prediction: tuple[Correlation, ...]  # of the early cosine with the gain of accuracy, one per base
    harm: tuple[Effect, ...]  # each auxiliary that harms a base, at the smallest weight that does
    weighting: tuple[Comparison, ...]

    @classmethod
    def of(cls, results: Results) -> Self:
        """From the raw results."""
        first = []
        for base in LOSABLE:
            found = effects(results, base)
            first += [first_harm(found, each.slug) for each in base.added]
        return cls(
            runs=len(results.runs),
            updates=max(run["updates"] for run in results.runs),
            swing=swing(results),
            prediction=tuple(prediction(results, base, "accuracy") for base in BASES),
            harm=tuple(each for each in first if each is not None),
            weighting=tuple(comparison(results, weighting, WEIGHTED) for weighting in AUTOMATIC),
        )

    @classmethod
    def kept(cls) -> Self:
        """The findings that come with the package."""
        return from_dict(cls, json.loads(KEPT.read_text()))

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dataclasses.asdict(self))
