"""The learning curves of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from jepa_rl.scripts.minigrid_benchmark.summary import Results, Run, wilson
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.reporting.drawing import ALGORITHM_COLOURS, INK, blank, tidy

NAMES = {"jepa": "JEPA", "ppo": "PPO", "dqn": "5-step DQN"}
COLUMNS = 4
MOST_BANDS = 4  # more than these cover one another
LEGEND_ROW = 0.22  # inches


def curves(
    results: Results,
    column: str,
    label: str,
    names: Mapping[str, str] = NAMES,
    colours: Mapping[str, str] = ALGORITHM_COLOURS,
) -> Figure:
    """A success rate against environment steps, one panel per task; ``names`` and ``colours`` are by algorithm."""
    shown = [name for algorithm, name in names.items() if any(run.cell["algo"] == algorithm for run in results.runs)]
    return panels(results.tasks, shown, label, lambda axes, task: _panel(axes, results, task, column, names, colours))


def panels(
    tasks: Sequence[Any], names: Sequence[str], label: str, draw: Callable[[Axes, Any], None], *, columns: int = COLUMNS
) -> Figure:
    """One panel per task, whose lines ``draw`` labels with ``names``; the legend stands above all."""
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns)
    width = max(2.5 * columns + 0.6, 4.6)
    across = legend_columns(names, width)
    figure = blank((width, 2.35 * rows + 0.4 + LEGEND_ROW * (-(-len(names) // across) - 1)), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(tasks):
            axes.axis("off")
            continue
        draw(axes, tasks[number])
        if number % columns == 0:
            axes.set_ylabel(label, fontsize=9, color=INK)
        steps = "environment steps (log)" if axes.get_xscale() == "log" else "environment steps"
        axes.set_xlabel(steps, fontsize=9, color=INK)
    lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines() if axes.axison}
    shown: dict[str, Any] = {"loc": "outside upper center", "ncols": across, "fontsize": 10}
    figure.legend([lines[name] for name in names], names, frameon=False, labelcolor=INK, **shown)
    return figure


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many columns of names a legend above or below a figure of this width, in inches, has room for."""
    return max(1, min(len(names), int(width / (0.5 + 0.085 * max(map(len, names))))))


def _panel(
    axes: Axes, results: Results, task: Task, column: str, names: Mapping[str, str], colours: Mapping[str, str]
) -> None:
    for algorithm, name in names.items():
        runs = results.of(task, algorithm)
        if runs:
            _line(axes, runs, column, colours[algorithm], name, band=len(names) <= MOST_BANDS)
    axes.set_title(task.name, fontsize=10, color=INK, loc="left")
    steps_axis(axes, [run.curve["env_steps"] for algorithm in names for run in results.of(task, algorithm)])
    axes.set_ylim(-0.03, 1.03)
    tidy(axes)


def steps_axis(axes: Axes, steps: Sequence[np.ndarray]) -> None:
    """Environment steps; logarithmic where budgets differ, so that what learns soon is not a sliver at the edge."""
    last = [each[-1] for each in steps]
    if max(last) < 2 * min(last):
        axes.set_xlim(0, 1.02 * max(last))
        axes.locator_params(axis="x", nbins=4)
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(each[0] for each in steps), 1.05 * max(last))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def ending_line(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, name: str) -> None:
    """A line with a dot where its budget ends."""
    axes.plot(steps, values, color=colour, linewidth=1.6, label=name)
    axes.plot(steps[-1], values[-1], ".", color=colour, markersize=7)


def _line(axes: Axes, runs: Sequence[Run], column: str, colour: str, name: str, *, band: bool) -> None:
    """Mean over seeds; as a band, from the lowest to the highest, or Wilson's interval of one seed."""
    points = min(len(run.curve[column]) for run in runs)
    rates = np.array([run.curve[column][:points] for run in runs])
    steps = np.mean([run.curve["env_steps"][:points] for run in runs], axis=0)
    ending_line(axes, steps, rates.mean(axis=0), colour, name)
    if not band:
        return
    if len(runs) > 1:
        low, high = rates.min(axis=0), rates.max(axis=0)
    else:
        low, high = np.transpose([wilson(rate, runs[0].cell["episodes"]) for rate in rates[0]])
    axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
