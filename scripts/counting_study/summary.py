"""The study's raw results, gathered: which runs there are, and means with intervals over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa_rl.scripts.counting_study.rows import ROWS, TARGET
from jepa_rl.scripts.reporting.tables import Estimate, estimate

Result = dict[str, Any]


# Of latents that are nearly one vector. The encoder computes in bfloat16, whose steps are up to 1/128 of a number: how
# far such latents spread, and in how many directions, is then of the order of the rounding.
COLLAPSED_RANK = 1.5  # RankMe, of latents that are not centred
COLLAPSED_VARIANCE = 1e-6  # mean over dimensions


def collapsed(run: Result) -> bool:
    """Whether the latents are one vector up to about rounding, so that figures relative to their spread mean little."""
    return bool(run["rankme"] < COLLAPSED_RANK and run["latent_variance"] < COLLAPSED_VARIANCE)


@dataclass(frozen=True)
class Results:
    """All runs in a folder."""

    runs: tuple[Result, ...]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises FileNotFoundError where the folder lacks runs of a row."""
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*-seed*.json"))]
        found = cls(tuple(runs))
        missing = [row.slug for row in ROWS if not found.of(row.slug)]
        if missing:
            raise FileNotFoundError(f"{folder} has no results of {', '.join(missing)}; run jepa-rl paper counting first")
        return found

    def of(self, slug: str, target: int = TARGET, weight: float = 1.0) -> list[Result]:
        """The runs of a row, one per seed."""
        wanted = {"row": slug, "target": target, "weight": weight}
        runs = [run for run in self.runs if not run["cell"]["name"].startswith("quick-")]
        return [run for run in runs if all(run["cell"][name] == value for name, value in wanted.items())]

    def quick(self, slug: str) -> list[Result]:
        """The runs of a row that --quick trains, one per seed."""
        return [run for run in self.runs if run["cell"]["name"] == f"quick-{slug}"]

    def estimate(
        self, figure: str | Callable[[Result], float | None], slug: str, target: int = TARGET, weight: float = 1.0
    ) -> Estimate:
        """A figure of the runs of a row: an entry of the result, or a function of it; None counts as not measured."""
        read = figure if callable(figure) else lambda run: run.get(figure)
        values = [read(run) for run in self.of(slug, target, weight)]
        return estimate([value for value in values if value is not None])

    def of_spread(self, read: Callable[[Result], float | None], slug: str, digits: int) -> str:
        """A figure relative to the spread of the latents, as in a table: of the runs that have not collapsed."""
        runs = self.of(slug)
        lost = sum(map(collapsed, runs))
        if lost == len(runs):
            return "collapsed"
        found = self.estimate(lambda run: None if collapsed(run) else read(run), slug).text(digits)
        return found + (f" ({lost} of {len(runs)} collapsed)" if lost else "")
