"""The page of the benchmark, from the raw results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepa_rl.scripts.benchmark_results import HOLD, SEEDS_OVERLAP, state_of
from jepa_rl.scripts.minigrid_benchmark.page import held_text
from jepa_rl.scripts.minigrid_benchmark.summary import LEVELS, Results, Run
from jepa_rl.scripts.minigrid_benchmark.tasks import TASKS as KNOWN
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.pieces_benchmark.pieces import PIECES, SEEDS, SLUGS, TASKS
from jepa_rl.scripts.reporting.paragraphs import filled, listed
from jepa_rl.scripts.reporting.tables import estimate, markdown

LEVEL = LEVELS[-1]

TEMPLATE = """\
# What each piece of the `minigrid` preset buys

`jepa-rl benchmark pieces` trains the preset with each of its pieces switched off once, all else as it is;
[p-jepa.md](p-jepa.md) says what the pieces are for. `--render` remakes this page from the [raw results]({raw}), `--quick`
runs two rows on one task.

{state}

{search}{tables}

{explained}

{seeds_overlap}
"""


EXPLAINED = """\
*At the end* and *over the budget* are sampled success on {episodes} held-out episodes: the mean of a run's last {hold}
evaluations, and of all of them, which rewards learning soon; mean over seeds ± half the 95 % interval (Student's t),
which needs three seeds. *Greedy* and *looped* are those of the last evaluation: success of the best plan, and episodes
that ran into the step limit without a new state in the second half of it. *Steps* are from where {level:g} sampled
success is held over {hold} evaluations in a row. {spacing}"""


def render(folder: Path, page: Path) -> Path:
    """Write the page; returns its path."""
    results = Results.load(folder)
    grid = {(task.env_id, task.env_steps, slug, seed) for task in TASKS for slug in SLUGS for seed in range(SEEDS)}
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        TEMPLATE.format(
            raw=Path(os.path.relpath(folder, page.parent)).as_posix(),
            state=state_of(grid, results.runs, results.unfinished),
            search=_search(results),
            tables="\n\n".join(f"## {task.name}\n\n{table(results, task)}" for task in results.tasks),
            explained=filled(
                EXPLAINED.format(
                    episodes=" or ".join(map(str, sorted({run.cell["episodes"] for run in results.runs}))),
                    hold=HOLD,
                    level=LEVEL,
                    spacing=_spacing(results),
                )
            ),
            seeds_overlap=SEEDS_OVERLAP,
        )
    )
    return page


def table(results: Results, task: Task) -> str:
    """A row per piece that was switched off on the task."""
    body = []
    for piece in PIECES:
        runs = results.of(task, piece.slug)
        if runs:
            held = held_text([run.when_held(LEVEL, "env_steps") for run in runs], int(runs[0].cell["env_steps"]))
            body.append([f"without {piece.name}" if piece.instead else piece.name, piece.instead, *_figures(runs), held])
    header = ["", "instead", "at the end", "over the budget", "greedy", "looped", f"steps to {LEVEL:g}"]
    return markdown(header, body)


def _figures(runs: Sequence[Run]) -> list[str]:
    success = [estimate([run.final for run in runs]).text(2), estimate([run.area() for run in runs]).text(2)]
    return success + [f"{np.mean([run.last(column) for run in runs]):.2f}" for column in ("success_greedy", "looped_share")]


def _search(results: Results) -> str:
    """What planning adds to acting by the highest Q, in figures; nothing where one of the two has not run."""
    told = []
    for task in results.tasks:
        pair = [results.of(task, slug) for slug in ("no-search", "preset")]
        if not all(pair):
            continue
        figures = [[f"{np.mean([read(run) for run in runs]):.2f}" for runs in pair] for read in (_final, _area)]
        (end, its_end), (area, its_area) = figures
        told.append(f"{task.name} {end} against {its_end} at the end, {area} against {its_area} over the budget")
    if not told:
        return ""
    seeds = sorted({len(results.of(task, slug)) for task in results.tasks for slug in ("no-search", "preset")} - {0})
    number = "one seed" if seeds == [1] else f"{' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"
    shown = f"{'; '.join(told)} ({number})"
    return filled(f"The agent without search, which takes the highest Q, against the preset: {shown}.") + "\n\n"


def _final(run: Run) -> float:
    return run.final


def _area(run: Run) -> float:
    return run.area()


def _spacing(results: Results) -> str:
    """How far apart the evaluations are, here and in the benchmark beside the baselines."""
    here = listed([f"{task.eval_every:,} on {task.name}" for task in results.tasks])
    told = f"They are known only where an evaluation was: every {here}."
    there = {known.env_id: known.for_ours().eval_every for known in KNOWN}
    other = [f"{there[task.env_id]:,} on {task.name}" for task in results.tasks if task.env_id in there]
    if other:
        told += f" [minigrid.md](minigrid.md) evaluates every {listed(other)}: compare steps within this table only."
    return told


def terminal_table(folder: Path) -> str:
    """The main figures, for a terminal."""
    results = Results.load(folder)
    lines = [f"{'task':<20} {'piece':<24} {'seeds':>5} {'at the end':>14} {'budget':>14}  steps to {LEVEL:g}"]
    for task in results.tasks:
        for slug in SLUGS:
            if runs := results.of(task, slug):
                end, budget, *_ = _figures(runs)
                held = held_text([run.when_held(LEVEL, "env_steps") for run in runs], int(runs[0].cell["env_steps"]))
                lines.append(f"{task.name:<20} {slug:<24} {len(runs):>5} {end:>14} {budget:>14}  {held}")
    return "\n".join(lines)
