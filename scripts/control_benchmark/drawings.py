"""The learning curves of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jepa_rl.scripts.benchmark_results import HOLD
from jepa_rl.scripts.control_benchmark.summary import Results, Run
from jepa_rl.scripts.control_benchmark.tasks import Task
from jepa_rl.scripts.minigrid_benchmark.drawings import ending_line, panels, steps_axis
from jepa_rl.scripts.reporting.drawing import ALGORITHM_COLOURS, GREY, INK, tidy

NAMES = {"jepa": "JEPA", "sac": "SAC", "ppo": "PPO", "dqn": "DQN"}
COLUMNS = 3


def curves(results: Results) -> Figure:
    """Return against environment steps, one panel per task; the threshold is dashed."""
    names = [NAMES[name] for name in results.algorithms]
    return panels(results.tasks, names, "return", lambda axes, task: _panel(axes, results, task), columns=COLUMNS)


def _panel(axes: Axes, results: Results, task: Task) -> None:
    if task.threshold is not None:
        axes.axhline(task.threshold, color=GREY, linewidth=1, linestyle="--")
    for algorithm in results.algorithms:
        if runs := results.of(task, algorithm):
            _line(axes, runs, ALGORITHM_COLOURS[algorithm], NAMES[algorithm])
    axes.set_title(task.name, fontsize=10, color=INK, loc="left")
    steps_axis(axes, [run.curve["env_steps"] for name in results.algorithms for run in results.of(task, name)])
    tidy(axes)


def _line(axes: Axes, runs: Sequence[Run], colour: str, name: str) -> None:
    """Median over seeds of their smoothed curves, with a band of the middle half of them."""
    points = min(len(run.curve["return_mean"]) for run in runs)
    returns = np.array([smoothed(run.curve["return_mean"][:points]) for run in runs])
    steps = np.mean([run.curve["env_steps"][:points] for run in runs], axis=0)
    low, median, high = np.quantile(returns, (0.25, 0.5, 0.75), axis=0)
    ending_line(axes, steps, median, colour, name)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of each value [n] and of those before it, ``HOLD`` in all; the last is a run's return at the end."""
    return np.array([values[max(0, last - HOLD) : last].mean() for last in range(1, len(values) + 1)])
