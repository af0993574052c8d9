"""The study's raw results, gathered: the figures of its table, and differences between rows over the same seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from jepa_rl.scripts.masked_study.rows import ROWS, Row
from jepa_rl.scripts.reporting.corrections import holm
from jepa_rl.scripts.reporting.tables import Estimate, estimate

Result = dict[str, Any]
Reader = Callable[[Result], float]


def _probe(name: str) -> Reader:
    return lambda run: float(run["probes"][name]["score"])


FIGURES: dict[str, Reader] = {
    "count, centroid": lambda run: float(run["accuracy"]),
    "count, probe": _probe("count_linear"),
    "shape, probe": _probe("shape_linear"),
    "colour, probe R²": _probe("color_linear"),
    "position, probe R²": _probe("position_linear"),
    "success": lambda run: float(run["success"]),
}
"""What is drawn and compared. Probes are linear."""
COLUMNS: dict[str, Reader] = {
    **FIGURES,
    "ARI": lambda run: float(run["ari"]),
    "effective rank": lambda run: float(run["effective_rank"]),
    "seconds": lambda run: float(run["train_seconds"]),
}
"""The columns of the table."""


CERTAIN = 0.05  # chance of a difference, corrected for their number, below which one is stated


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much a figure of one row is above that of another, seed by seed."""

    found: Estimate
    chance: float | None  # Holm's, for all differences of the page; None for fewer than three seeds

    @property
    def apart(self) -> bool:
        """Whether the single interval leaves out 0; some of many do by chance."""
        return self.found.seeds >= 3 and abs(self.found.mean) > self.found.half_width

    @property
    def certain(self) -> bool:
        """Whether it holds among all differences of the page."""
        return self.chance is not None and self.chance < CERTAIN


@dataclass(frozen=True)
class Results:
    """All runs in a folder: those of --quick only where there are no others."""

    runs: tuple[Result, ...]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises FileNotFoundError where there are no runs."""
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*-seed*.json"))]
        if not runs:
            raise FileNotFoundError(f"{folder} has no results; run jepa-rl paper masked first")
        return cls(tuple([run for run in runs if not run["cell"]["quick"]] or runs))

    @property
    def quick(self) -> bool:
        """Whether these are the runs of --quick."""
        return all(run["cell"]["quick"] for run in self.runs)

    @property
    def seeds(self) -> int:
        return len({run["cell"]["seed"] for run in self.runs})

    @property
    def rows(self) -> list[Row]:
        """Those that have runs."""
        return [each for each in ROWS if self.of(each.slug)]

    def of(self, slug: str) -> dict[int, Result]:
        """The runs of a row, by seed."""
        return {run["cell"]["seed"]: run for run in self.runs if run["cell"]["row"] == slug}

    def estimate(self, read: Reader, slug: str) -> Estimate:
        """A figure of a row, with its interval over seeds."""
        return estimate([read(run) for run in self.of(slug).values()])

    def difference(self, read: Reader, slug: str, other: str) -> Estimate:
        """By how much a figure of row ``slug`` is above that of ``other``, over the seeds that both have."""
        ours, theirs = self.of(slug), self.of(other)
        return estimate([read(ours[seed]) - read(theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())])

    def differences(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Difference]]:
        """Every figure of every pair of rows that share seeds, judged together."""
        found = {(pair, name): self.difference(read, *pair) for pair in pairs for name, read in FIGURES.items()}
        found = {key: each for key, each in found.items() if each.seeds}
        judged = {key: chance_of(each) for key, each in found.items() if each.seeds >= 3}
        corrected = dict(zip(judged, holm([*judged.values()]), strict=True))
        told: dict[tuple[str, str], dict[str, Difference]] = {}
        for (pair, name), each in found.items():
            told.setdefault(pair, {})[name] = Difference(found=each, chance=corrected.get((pair, name)))
        return told


def chance_of(found: Estimate) -> float:
    """How likely differences whose mean is so far from 0 are if there is none: the two-sided t-test.

    Where all are alike, and there is no spread to compare with, the sign test.
    """
    if len(set(found.values)) == 1:
        return 1.0 if found.mean == 0 else 2.0 ** (1 - found.seeds)
    return float(stats.ttest_1samp(found.values, 0.0).pvalue)
