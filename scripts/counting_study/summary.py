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
