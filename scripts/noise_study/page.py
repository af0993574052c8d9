"""docs/noise.md and its figures, from the raw results."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from jepa_rl.scripts.noise_study import drawings
from jepa_rl.scripts.noise_study.measure import NOISES
from jepa_rl.scripts.noise_study.prose import compose
from jepa_rl.scripts.noise_study.rows import Level, Row, Task
from jepa_rl.scripts.noise_study.summary import (
    Reader,
    Results,
    bit_in_noise,
    collapsed,
    first_time,
    probe,
    share,
    shares_ratio,
    success,
)
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import markdown

BIT = "bit"


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figures to figures/noise beside it; returns the page's path."""
    results = Results.load(folder)
    drawn: dict[str, Figure] = {}
    tables: dict[str, str] = {}
    for task in results.tasks():
        tables[task.slug] = task_table(results, task)
        if task.slug == BIT:
            drawn["bit"] = drawings.bits(results, task)
            continue
        drawn[f"{task.slug}-keeps"] = drawings.keeps(results, task)
        if drawings.noisy_levels(results, task):
            drawn[f"{task.slug}-theory"] = drawings.theory(results, task)
            tables[f"{task.slug}-theory"] = theory_table(results, task)
    write_figures(drawn, page.parent / "figures" / "noise")

    def link(path: str) -> str:
        return Path(os.path.relpath(path or folder, page.parent)).as_posix()

    page.write_text(compose(results, tables, set(drawn), link))
    return page


def task_table(results: Results, task: Task) -> str:
    """Every row at every level."""
    columns = _columns(task)
    body = []
    for level in results.levels(task):
        for row in results.rows(task):
            runs = results.of(task, level, row)
            if not runs:
                continue
            cells = [results.estimate(read, task, level, row).text(2) for read in columns.values()]
            lost = sum(map(collapsed, runs))
            body.append([level.name, row.name + (f" ({lost} of {len(runs)} collapsed)" if lost else ""), *cells])
    return markdown(["level", "row", *columns], body)


def _columns(task: Task) -> dict[str, Reader]:
    """The figures of a task's table, by what stands above them."""
    columns: dict[str, Reader] = {}
    for name in task.signals:
        columns[f"{name}: linear"] = probe(f"{name}_linear")
        columns[f"{name}: MLP"] = probe(f"{name}_mlp")
    if task.slug == BIT:
        columns |= {f"bit: linear, noise {noise:g}": bit_in_noise(noise) for noise in NOISES}
    columns[f"{task.signals[-1]}: centroid"] = lambda run: run["accuracy"][task.signals[-1]]
    if task.distractor:
        columns["distractor R²: linear"] = probe("distractor_linear")
        columns["distractor R²: MLP"] = probe("distractor_mlp")
    groups = [*task.signals, "signal"] if len(task.signals) > 1 else ["signal"]
    groups += (["appearance"] if task.appearance else []) + (["distractor"] if task.distractor else [])
    columns |= {f"share: {group}": share(group) for group in groups}
    return columns | {
        "effective rank": lambda run: run["effective_rank"],
        "L_dyn / variance": lambda run: run["losses"].get("one_step"),
        "success": success,
    }


def theory_table(results: Results, task: Task) -> str:
    """What the theory learns first at each level, and the distractor's part in the latents of the rows set against it."""
    names = [row for row in results.rows(task) if row.slug in drawings.FOLLOWED]
    body = []
    for level in drawings.noisy_levels(results, task):
        times = [_times(results, task, level, objective) for objective in drawings.OBJECTIVES]
        body.append([level.name, *times, *(results.estimate(shares_ratio, task, level, row).text(2) for row in names)])
    return markdown(["level", *drawings.OBJECTIVES.values(), *(row.name for row in names)], body)


def _times(results: Results, task: Task, level: Level, objective: str) -> str:
    """Learning times of signal and distractor, the first in bold."""
    reference = results.reference(task, level)
    assert reference is not None
    times = [first_time(reference, objective, factors) for factors in (task.signals, task.distractor)]
    told = ["never" if time == float("inf") else f"{time:,.0f}" if time >= 100 else f"{time:.3g}" for time in times]
    return " / ".join(
        f"**{text}**" if time == min(times) != max(times) else text for text, time in zip(told, times, strict=True)
    )


def table_of(results: Results) -> str:
    """The main figures, for a terminal."""
    header = (
        f"{'task':<17} {'level':<23} {'row':<22} {'seeds':>5} {'signal':>7} {'distr.':>7} {'share s':>8} {'share d':>8}"
    )
    lines = [f"{header} {'success':>8}"]
    for task in results.tasks():
        for level in results.levels(task):
            for row in results.rows(task):
                if results.of(task, level, row):
                    lines.append(_line(results, task, level, row))
    return "\n".join(lines)


def _line(results: Results, task: Task, level: Level, row: Row) -> str:
    def text(read: Reader) -> str:
        found = results.estimate(read, task, level, row)
        return f"{found.mean:.2f}" if found.seeds else "-"

    figures = [text(probe(f"{task.signals[0]}_linear")), text(probe("distractor_linear"))]
    figures += [text(share("signal")), text(share("distractor")), text(success)]
    seeds = len(results.of(task, level, row))
    widths = (7, 7, 8, 8, 8)
    cells = " ".join(f"{figure:>{width}}" for figure, width in zip(figures, widths, strict=True))
    return f"{task.name:<17} {level.name:<23} {row.name:<22} {seeds:>5} {cells}"
