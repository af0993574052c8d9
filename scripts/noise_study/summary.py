"""The study's raw results, gathered: which runs there are, means over seeds, and what the theory says of each level."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa_rl.scripts.noise_study.rows import REFERENCE, ROWS, TASKS, Level, Row, Task
from jepa_rl.scripts.reporting.tables import Estimate, estimate

Result = dict[str, Any]
Reader = Callable[[Result], float | None]


@dataclass(frozen=True)
class Results:
    """All runs in a folder: those of --quick only where there are no others."""

    runs: tuple[Result, ...]
    references: tuple[Result, ...]

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Raises FileNotFoundError where there are no runs."""
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("*-seed*.json"))]
        runs = [run for run in found if run["cell"]["row"] != REFERENCE]
        whole = [run for run in runs if not run["cell"]["quick"]]
        if not runs:
            raise FileNotFoundError(f"{folder} has no results; run jepa-rl paper noise first")
        references = [run for run in found if run["cell"]["row"] == REFERENCE]
        return cls(tuple(whole or runs), tuple(references))

    @property
    def quick(self) -> bool:
        """Whether these are the runs of --quick."""
        return all(run["cell"]["quick"] for run in self.runs)

    def of(self, task: Task, level: Level, row: Row) -> list[Result]:
        """The runs of a row at a level, one per seed."""
        wanted = {"task": task.slug, "level": level.slug, "row": row.slug}
        return [run for run in self.runs if all(run["cell"][name] == value for name, value in wanted.items())]

    def reference(self, task: Task, level: Level) -> Result | None:
        """What the theory says of the level, and the success of random actions."""
        wanted = {"task": task.slug, "level": level.slug}
        found = [one for one in self.references if all(one["cell"][name] == value for name, value in wanted.items())]
        return found[0] if found else None

    def levels(self, task: Task) -> list[Level]:
        """Those of the task that have runs."""
        return [level for level in task.levels if any(self.of(task, level, row) for row in ROWS)]

    def rows(self, task: Task) -> list[Row]:
        """Those that have runs of the task."""
        return [row for row in ROWS if any(self.of(task, level, row) for level in task.levels)]

    def tasks(self) -> list[Task]:
        """Those that have runs."""
        return [task for task in TASKS if self.levels(task)]

    def estimate(self, read: Reader, task: Task, level: Level, row: Row) -> Estimate:
        """A figure of the runs of a row at a level; None counts as not measured."""
        values = [read(run) for run in self.of(task, level, row)]
        return estimate([value for value in values if value is not None])


def success(run: Result) -> float:
    """The success rate."""
    return float(run["success"])


def share(group: str) -> Reader:
    """Reads the share of the latents' variance that a group of factors explains; 0 where it has none that vary."""

    def read(run: Result) -> float | None:
        found: float | None = run["shares"].get(group, 0.0)
        return found

    return read


def probe(name: str) -> Reader:
    """Reads a probe's score, such as "count_linear"; None where the factor does not vary."""

    def read(run: Result) -> float | None:
        found = run["probes"].get(name)
        return None if found is None else float(found["score"])

    return read


def bit_in_noise(noise: float) -> Reader:
    """Reads the accuracy of the bit's linear probe in noise of this size; None where it was not measured."""

    def read(run: Result) -> float | None:
        found = run.get("bit_in_noise", {}).get(f"{noise:g}")
        return None if found is None else float(found["score"])

    return read


def shares_ratio(run: Result) -> float | None:
    """The distractor's part of what distractor and signal explain of the latents together; None if that is nothing."""
    both = [run["shares"].get(group, 0.0) for group in ("distractor", "signal")]
    if None in both or not sum(both):
        return None
    return float(both[0] / sum(both))


def collapsed(run: Result) -> bool:
    """Whether the latents do not vary beyond rounding."""
    return run["shares"]["signal"] is None


def first_time(reference: Result, objective: str, factors: tuple[str, ...], scale: str | None = None) -> float:
    """When the theory's encoder has learned the first of some factors; inf is never. ``scale``: of the other ones."""
    orders = reference["order"] if scale is None else reference["other_scales"][scale]
    times = [orders[objective].get(factor) for factor in factors]
    return min((time for time in times if time is not None), default=math.inf)
