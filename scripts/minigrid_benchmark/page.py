"""The page of the benchmark and its figures, from the raw results."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jepa_rl.scripts.minigrid_benchmark import drawings
from jepa_rl.scripts.minigrid_benchmark.drawings import NAMES
from jepa_rl.scripts.minigrid_benchmark.prose import BEFORE_SUFFIX, compose
from jepa_rl.scripts.minigrid_benchmark.summary import (
    LEVELS,
    Results,
    Run,
    interquartile_mean,
    probability_of_improvement,
    wilson,
)
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import markdown

MACHINES = "machines.md"  # in the folder of the results, where the page is to say which runs were made where


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figures to figures/PAGE beside it; returns the page's path."""
    results = Results.load(folder)
    drawn = {name: drawings.curves(results, f"success_{name}", f"{name} success") for name in ("sampled", "greedy")}
    write_figures(drawn, page.parent / "figures" / page.stem)
    tables = {
        "steps": hold_table(results, "env_steps"),
        "seconds": hold_table(results, "wall_seconds"),
        "overall": overall_table(results),
        "end": end_table(results),
        "cost": cost_table(results),
    }
    raw = Path(os.path.relpath(folder, page.parent)).as_posix()
    earlier = folder.with_name(folder.name + BEFORE_SUFFIX)
    before = Results.load(earlier) if earlier.is_dir() else None
    machines = (folder / MACHINES).read_text() if (folder / MACHINES).is_file() else ""
    page.write_text(compose(results, tables, page=page.stem, raw=raw, before=before, machines=machines))
    return page


def hold_table(results: Results, column: str) -> str:
    """When each level begins to be held, in environment steps or seconds of training; the last one by greedy acting too."""
    asked = [*((level, "sampled") for level in LEVELS), (LEVELS[-1], "greedy")]
    body = []
    for task, name in results.pairs:
        runs, budget = results.of(task, name), task.budget(name).env_steps
        held = [[run.when_held(level, column, acting=acting) for run in runs] for level, acting in asked]
        body.append([task.name, NAMES[name], str(len(runs)), *(held_text(steps, budget) for steps in held)])
    header = [f"to {level:g}{', greedily' if acting == 'greedy' else ''}" for level, acting in asked]
    return markdown(["task", "algorithm", "seeds", *header], body)


def held_text(values: Sequence[float | None], budget: int) -> str:
    """Mean over the seeds that held it and their own figures, or how many they are where not all did."""
    held = [value for value in values if value is not None]
    if not held:
        return f"never ({budget:,})"
    mean, seeds = f"{np.mean(held):,.0f}", ", ".join(f"{value:,.0f}" for value in held)
    if len(held) < len(values):
        return f"{mean} ({len(held)} of {len(values)})"
    return mean if len(held) == 1 else f"{mean} ({seeds})"


def scores(results: Results, tasks: Sequence[Task], name: str, read: Callable[[Run], float]) -> list[list[float]]:
    """A figure of an algorithm's runs, by task."""
    return [[read(run) for run in results.of(task, name)] for task in tasks]


def overall_table(results: Results) -> str:
    """Interquartile means over tasks and seeds, and how probably the first algorithm beats each other."""
    first, *others = results.algorithms
    shortest = {task.env_id: min(task.budget(name).env_steps for name in results.algorithms) for task in results.tasks}
    measures: dict[str, Callable[[Run], float]] = {
        "success at the end": lambda run: run.final,
        "success over the steps that all have": lambda run: run.area(shortest[run.cell["env_id"]]),
    }
    of_all = _shared(results, results.algorithms)
    of_two = {name: _shared(results, [first, name]) for name in others}
    body = []
    for label, read in measures.items():
        means = [_mean_of(scores(results, of_all, name, read)) for name in results.algorithms]
        chances = []
        for name, tasks in of_two.items():
            ours, theirs = (scores(results, tasks, each, read) for each in (first, name))
            chances.append(probability_of_improvement(ours, theirs).text() if tasks else "-")
        body.append([label, *means, *chances])
    header = [f"{NAMES[name]}: IQM, {_number(of_all)}" for name in results.algorithms]
    header += [f"P({NAMES[first]} > {NAMES[name]}), {_number(tasks)}" for name, tasks in of_two.items()]
    return markdown(["", *header], body)


def _shared(results: Results, names: Sequence[str]) -> list[Task]:
    """The tasks that all these algorithms have runs of."""
    return [task for task in results.tasks if all(results.of(task, name) for name in names)]


def _mean_of(found: Sequence[Sequence[float]]) -> str:
    """The interquartile mean; of fewer than four runs it would leave none out."""
    return interquartile_mean(found).text() if sum(map(len, found)) >= 4 else "-"


def _number(tasks: Sequence[Task]) -> str:
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"


def end_table(results: Results) -> str:
    """What the last evaluation gave."""
    body = []
    for task, name in results.pairs:
        runs = results.of(task, name)
        rates = [_rate(runs, column) for column in ("success_sampled", "success_greedy", "looped_share")]
        returns = [f"{np.mean([run.last(f'return_{mode}') for run in runs]):.2f}" for mode in ("sampled", "greedy")]
        body.append([task.name, NAMES[name], *rates, *returns])
    header = ["sampled success", "greedy success", "greedy episodes that looped", "sampled return", "greedy return"]
    return markdown(["task", "algorithm", *header], body)


def _rate(runs: Sequence[Run], column: str) -> str:
    """Mean over seeds with the seeds behind it; a single seed has Wilson's interval."""
    rates = [run.last(column) for run in runs]
    if len(runs) > 1:
        return f"{np.mean(rates):.2f} ({', '.join(f'{rate:.2f}' for rate in rates)})"
    low, high = wilson(rates[0], runs[0].cell["episodes"])
    return f"{rates[0]:.2f} ({low:.2f} to {high:.2f})"


def cost_table(results: Results) -> str:
    """What a run costs, mean over seeds."""
    body = []
    for task, name in results.pairs:
        runs = results.of(task, name)

        def mean(read: Callable[[Run], float], runs: Sequence[Run] = runs) -> str:
            return f"{np.mean([read(run) for run in runs]):,.0f}"

        body.append(
            [
                task.name,
                NAMES[name],
                mean(lambda run: run.last("env_steps")),
                mean(lambda run: run.last("updates")),
                mean(lambda run: run.last("wall_seconds")),
                mean(lambda run: run.last("env_steps") / run.last("wall_seconds")),
                mean(lambda run: run.last("evaluation_seconds")),
                mean(lambda run: run.last("peak_memory_mb")),
            ]
        )
    header = ["environment steps", "updates", "seconds of training", "steps per second", "seconds of evaluation", "peak MB"]
    return markdown(["task", "algorithm", *header], body)


def terminal_table(results: Results) -> str:
    """The main figures, for a terminal."""
    lines = [f"{'task':<24} {'algorithm':<12} {'seeds':>5} {'success':>8} {'greedy':>7} {'looped':>7}  steps to hold 0.95"]
    for task, name in results.pairs:
        runs = results.of(task, name)
        sampled, greedy, looped = (
            f"{np.mean([run.last(column) for run in runs]):.2f}"
            for column in ("success_sampled", "success_greedy", "looped_share")
        )
        held = held_text([run.when_held(LEVELS[-1], "env_steps") for run in runs], task.budget(name).env_steps)
        lines.append(f"{task.name:<24} {NAMES[name]:<12} {len(runs):>5} {sampled:>8} {greedy:>7} {looped:>7}  {held}")
    return "\n".join(lines)
