"""What the studies' tables are made of: means with intervals over seeds, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over seeds with its 95 % interval (Student's t)."""

    mean: float
    half_width: float  # NaN for fewer than three seeds
    values: tuple[float, ...]  # one per seed

    @property
    def seeds(self) -> int:
        return len(self.values)

    def text(self, digits: int = 3) -> str:
        """As in a table: mean ± half width."""
        if np.isnan(self.mean):
            return "-"
        spread = "" if np.isnan(self.half_width) else f" ± {self.half_width:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of one figure per seed, with its interval from three seeds on."""
    mean = float(np.mean(values)) if values else float("nan")
    half = float("nan")
    if len(values) >= 3:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(mean=mean, half_width=half, values=tuple(values))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
