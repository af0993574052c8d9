"""The page of the benchmark and its figure, from the raw results."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jepa_rl.scripts.control_benchmark import drawings
from jepa_rl.scripts.control_benchmark.drawings import NAMES
from jepa_rl.scripts.control_benchmark.prose import AGAIN_SUFFIX, compose
from jepa_rl.scripts.control_benchmark.summary import Results
from jepa_rl.scripts.minigrid_benchmark.page import held_text
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import markdown


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figure to figures/control beside it; returns the page's path."""
    results = Results.load(folder)
    write_figures({"returns": drawings.curves(results)}, page.parent / "figures" / "control")
    tables = {"solved": solved_table(results), "end": end_table(results), "cost": cost_table(results)}
    raw = Path(os.path.relpath(folder, page.parent)).as_posix()
    repeated = folder.with_name(folder.name + AGAIN_SUFFIX)
    again = Results.load(repeated) if repeated.is_dir() else None
    page.write_text(compose(results, tables, raw=raw, again=again))
    return page


def solved_table(results: Results) -> str:
    """When the threshold begins to be held, in environment steps and in seconds of training."""
    body = []
    for task, name in results.pairs:
        if task.threshold is None:
            continue
        runs, budget = results.of(task, name), task.budget(name).env_steps
        steps = held_text([run.when_solved("env_steps") for run in runs], budget)
        seconds = held_text([run.when_solved("wall_seconds") for run in runs], budget)
        never = all(run.when_solved("env_steps") is None for run in runs)
        body.append([task.name, f"{task.threshold:g}", NAMES[name], str(len(runs)), steps, "" if never else seconds])
    return markdown(["task", "threshold", "algorithm", "seeds", "environment steps", "seconds"], body)


def end_table(results: Results) -> str:
    """Returns at the end of the budget, of every seed."""
    body = []
    for task, name in results.pairs:
        runs = results.of(task, name)
        finals = ", ".join(f"{run.final:.0f}" for run in runs)
        mean = f"{np.mean([run.final for run in runs]):.1f}"
        best = f"{np.mean([run.curve['return_mean'].max() for run in runs]):.1f}"
        body.append([task.name, f"{task.budget(name).env_steps:,}", NAMES[name], mean, finals, best])
    return markdown(["task", "environment steps", "algorithm", "return at the end", "by seed", "best evaluation"], body)


def cost_table(results: Results) -> str:
    """What a run costs, mean over seeds."""
    body = []
    for task, name in results.pairs:
        runs = results.of(task, name)
        columns = ("updates", "wall_seconds", "evaluation_seconds", "peak_memory_mb")
        updates, seconds, evaluation, memory = (f"{np.mean([run.last(column) for run in runs]):,.0f}" for column in columns)
        decision = f"{np.mean([run.decision_ms for run in runs]):.1f}"
        body.append([task.name, NAMES[name], updates, seconds, evaluation, decision, memory])
    header = ["updates", "seconds of training", "seconds of evaluation", "ms per decision", "peak MB"]
    return markdown(["task", "algorithm", *header], body)


def terminal_table(results: Results) -> str:
    """The main figures, for a terminal."""
    lines = [f"{'task':<24} {'algorithm':<9} {'seeds':>5} {'return':>9} {'ms':>6}  steps to hold the threshold"]
    for task, name in results.pairs:
        runs = results.of(task, name)
        mean, decision = np.mean([run.final for run in runs]), np.mean([run.decision_ms for run in runs])
        held = held_text([run.when_solved("env_steps") for run in runs], task.budget(name).env_steps)
        solved = "none" if task.threshold is None else held
        lines.append(f"{task.name:<24} {NAMES[name]:<9} {len(runs):>5} {mean:>9.1f} {decision:>6.1f}  {solved}")
    return "\n".join(lines)
