"""The page of the benchmark and its figures, from the raw results."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from jepa_rl.scripts.anchors_benchmark.measure import MERGE_FRACTIONS
from jepa_rl.scripts.anchors_benchmark.prose import compose
from jepa_rl.scripts.anchors_benchmark.summary import (
    at_end,
    effective_rank,
    improvement,
    mean,
    merged_share,
    merged_states,
    over_budget,
)
from jepa_rl.scripts.anchors_benchmark.variants import NAMES, SEEDS, VARIANTS
from jepa_rl.scripts.benchmark_results import HOLD, held_from
from jepa_rl.scripts.minigrid_benchmark.drawings import curves
from jepa_rl.scripts.minigrid_benchmark.page import held_text, scores
from jepa_rl.scripts.minigrid_benchmark.summary import LEVELS, Results, Run, interquartile_mean
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.reporting.drawing import COLOURS, INK, blank, tidy, write_figures
from jepa_rl.scripts.reporting.tables import estimate, markdown

LEVEL = LEVELS[-1]
COLOUR_OF = dict(zip(NAMES, COLOURS, strict=True))
Entry = Callable[[Task, Sequence[Run]], str]


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figures to figures/anchors beside it; returns the page's path."""
    results = Results.load(folder)
    drawn = {
        "success": curves(results, "success_sampled", "sampled success", NAMES, COLOUR_OF),
        "merging": merging_figure(results),
    }
    write_figures(drawn, page.parent / "figures" / "anchors")
    tables = {
        "success": by_task(results, lambda _, runs: mean(runs, at_end)),
        "greedy": by_task(results, lambda _, runs: mean(runs, lambda run: run.last("success_greedy"))),
        "steps": by_task(results, steps_text),
        "overall": overall_table(results),
        "rank": by_task(results, lambda _, runs: mean(runs, effective_rank, 1)),
        "merged": by_task(results, lambda _, runs: mean(runs, lambda run: 100 * merged_share(run), 1)),
        "states": by_task(results, lambda _, runs: mean(runs, lambda run: 100 * merged_states(run), 0)),
        "fractions": fractions_table(results),
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    raw = Path(os.path.relpath(folder, page.parent)).as_posix()
    page.write_text(compose(results, tables, raw, counting=folder.parent / "counting"))
    return page


def by_task(results: Results, entry: Entry) -> str:
    """Variants by tasks; "-" where there is no run."""
    body = []
    for slug in with_runs(results):
        found = {task: results.of(task, slug) for task in results.tasks}
        body.append([NAMES[slug], *(entry(task, runs) if runs else "-" for task, runs in found.items())])
    return markdown(["who trains the encoder", *(task.name for task in results.tasks)], body)


def with_runs(results: Results) -> list[str]:
    """The variants with results, in order."""
    return [slug for slug in NAMES if any(run.cell["algo"] == slug for run in results.runs)]


def steps_text(task: Task, runs: Sequence[Run]) -> str:
    """When the level begins to be held: of the seeds that held it, and of all with the budget for those that did not."""
    held = [run.when_held(LEVEL, "env_steps") for run in runs]
    text = held_text(held, task.env_steps)
    late = sum(step is None and at_end(run) >= LEVEL for step, run in zip(held, runs, strict=True))
    if late:
        text += f", {late} at the end"
    there = [step for step in held if step is not None]
    if not there:
        return text
    counted = estimate([_soonest(run) for run in runs])
    if len(there) < len(held):
        return f"{text}; at least {counted.mean:,.0f}"
    spread = "" if math.isnan(counted.half_width) else f" ± {counted.half_width:,.0f}"
    return f"{text}{spread}"


def _soonest(run: Run) -> float:
    """When the run begins to hold the level if it stays there after its last evaluation; that one if it is not there."""
    steps, success = run.curve["env_steps"], run.curve["success_sampled"]
    first = held_from([*success, *[1.0] * (HOLD - 1)], LEVEL)
    return float(steps[-1 if first is None else first])


def overall_table(results: Results) -> str:
    """Interquartile means over the tasks that all variants have, and how probably (a) beats each other."""
    slugs = with_runs(results)
    tasks = [task for task in results.tasks if all(results.of(task, slug) for slug in slugs)]
    body = []
    for slug in slugs:
        row = [NAMES[slug]]
        for read in (at_end, over_budget):
            row.append(interquartile_mean(scores(results, tasks, slug, read)).text() if tasks else "-")
            found = improvement(results, VARIANTS[0].slug, slug, read) if slug != VARIANTS[0].slug else None
            row.append("-" if found is None else found.probability.text())
        body.append(row)
    header = ["who trains the encoder", "end: IQM", "end: P((a) is better)", "budget: IQM", "budget: P((a) is better)"]
    return markdown(header, body)


def fractions_table(results: Results) -> str:
    """The merged share under each threshold, by task."""

    def entry(_: Task, runs: Sequence[Run]) -> str:
        shares = [[100 * merged_share(run, f"{fraction:g}") for run in runs] for fraction in MERGE_FRACTIONS]
        return ", ".join(f"{np.mean(each):.1f}" for each in shares)

    return by_task(results, entry)


def merging_figure(results: Results) -> Figure:
    """Merged share and success, a dot per run, a row per variant; a line of two panels per task."""
    tasks, shown = results.tasks, with_runs(results)
    figure = blank((7.6, (0.28 * len(shown) + 0.85) * len(tasks)), dpi=110)
    grid = figure.subplots(len(tasks), 2, squeeze=False, sharey=True)
    for (left, right), task in zip(grid, tasks, strict=True):
        for axes, read in ((left, merged_share), (right, at_end)):
            for place, slug in enumerate(shown):
                _dots(axes, results.of(task, slug), place, read, COLOUR_OF[slug])
            tidy(axes)
        left.set_xlim(left=-0.03 * left.get_xlim()[1])  # so that dots at 0 are whole
        left.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
        left.locator_params(axis="x", nbins=5)
        right.set_xlim(-0.03, 1.03)
        left.set_title(f"{task.name}: merged pairs", fontsize=10, color=INK, loc="left")
        right.set_title("success at the end", fontsize=10, color=INK, loc="left")
    grid[0, 0].set_yticks(range(len(shown)), [NAMES[slug] for slug in shown])
    grid[0, 0].set_ylim(len(shown) - 0.4, -0.6)
    return figure


def _dots(axes: Axes, runs: Sequence[Run], row: int, read: Callable[[Run], float], colour: str) -> None:
    """The seeds of a variant one below the other within its row, so that equal ones are all seen."""
    heights = [row + 0.13 * (run.cell["seed"] - (SEEDS - 1) / 2) for run in runs]
    axes.plot([read(run) for run in runs], heights, "o", color=colour, markersize=4, alpha=0.85, markeredgewidth=0)


def terminal_table(folder: Path) -> str:
    """The main figures, for a terminal."""
    results = Results.load(folder)
    columns = " ".join(f"{column:>12}" for column in ("success", "rank", "merged %"))
    lines = [f"{'task':<20} {'who trains the encoder':<24} {'seeds':>5} {columns}  steps to hold {LEVEL:g}"]
    for task in results.tasks:
        for slug in with_runs(results):
            if runs := results.of(task, slug):
                figures = (
                    mean(runs, at_end),
                    mean(runs, effective_rank, 1),
                    mean(runs, lambda run: 100 * merged_share(run), 1),
                )
                told = " ".join(f"{figure:>12}" for figure in figures)
                held = held_text([run.when_held(LEVEL, "env_steps") for run in runs], task.env_steps)
                lines.append(f"{task.name:<20} {NAMES[slug]:<24} {len(runs):>5} {told}  {held}")
    return "\n".join(lines)
