"""The learning curves of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jepa_rl.scripts.control_benchmark.summary import Results, Run
from jepa_rl.scripts.control_benchmark.tasks import ALGORITHMS, Task
from jepa_rl.scripts.minigrid_benchmark.drawings import ending_line, panels, steps_axis
from jepa_rl.scripts.reporting.drawing import COLOURS, GREY, INK, tidy

NAMES = {"jepa": "JEPA", "sac": "SAC", "ppo": "PPO", "dqn": "DQN"}
COLOUR_OF: dict[str, str] = dict(zip(ALGORITHMS, COLOURS, strict=False))


def curves(results: Results) -> Figure:
    """Return against environment steps, one panel per task; the threshold is dashed."""
    names = [NAMES[name] for name in results.algorithms]
    return panels(results.tasks, names, "return", lambda axes, task: _panel(axes, results, task))


def _panel(axes: Axes, results: Results, task: Task) -> None:
    if task.threshold is not None:
        axes.axhline(task.threshold, color=GREY, linewidth=1, linestyle="--")
    for algorithm in results.algorithms:
        if runs := results.of(task, algorithm):
            _line(axes, runs, COLOUR_OF[algorithm], NAMES[algorithm])
    axes.set_title(task.name, fontsize=10, color=INK, loc="left")
    steps_axis(axes, [run.curve["env_steps"] for name in results.algorithms for run in results.of(task, name)])
    tidy(axes)


def _line(axes: Axes, runs: Sequence[Run], colour: str, name: str) -> None:
    """Mean over seeds, with a band from the lowest to the highest."""
    points = min(len(run.curve["return_mean"]) for run in runs)
    returns = np.array([run.curve["return_mean"][:points] for run in runs])
    steps = np.mean([run.curve["env_steps"][:points] for run in runs], axis=0)
    ending_line(axes, steps, returns.mean(axis=0), colour, name)
    axes.fill_between(steps, returns.min(axis=0), returns.max(axis=0), color=colour, alpha=0.13, linewidth=0)
