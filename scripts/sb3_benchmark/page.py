"""The page of the benchmark and its figures, from the raw results."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepa_rl.scripts.minigrid_benchmark.page import held_text
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import estimate, markdown
from jepa_rl.scripts.sb3_benchmark import drawings
from jepa_rl.scripts.sb3_benchmark.prose import compose
from jepa_rl.scripts.sb3_benchmark.summary import SUCCESS, Clock, Results, Run, budget, figures_of
from jepa_rl.scripts.sb3_benchmark.tasks import IMAGINED, PLAIN, task

MODES = (SUCCESS, "success_greedy")
QUARTERS = (0.25, 0.5, 0.75, 1.0)  # of the budget: where success is told


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figures to figures/sb3 beside it; returns the page's path."""
    results = Results.load(folder)
    drawn = {"success": drawings.curves(results)}
    for env_id in results.env_ids:
        if results.of(env_id, IMAGINED):
            drawn[f"imagined-{task(env_id).name}"] = drawings.imagination(results, env_id)
    write_figures(drawn, page.parent / "figures" / "sb3")
    tables = {
        "steps": "\n\n".join(f"**{task(env_id).name}**\n\n{steps_table(results, env_id)}" for env_id in results.env_ids),
        "held": held_table(results),
        "end": end_table(results),
        "imagined": imagined_table(results),
        "cost": cost_table(results),
    }
    page.write_text(compose(results, tables, raw=Path(os.path.relpath(folder, page.parent)).as_posix()))
    return page


def learners(results: Results, env_id: str) -> list[str]:
    """The variants that train in the environment itself."""
    return [slug for slug in results.variants(env_id) if slug != IMAGINED]


def steps_table(results: Results, env_id: str) -> str:
    """Sampled success at fixed steps of a task: of all environment steps, and of PPO's own."""
    runs = [run for slug in learners(results, env_id) for run in results.of(env_id, slug)]
    if not runs:
        return "No runs yet."
    interval = runs[0].cell["eval_every"]
    marks = [interval * round(share * budget(runs) / interval) for share in QUARTERS]
    columns: list[tuple[Clock, int]] = [("env_steps", mark) for mark in marks]
    own = min(run.cell["own_steps"] for run in runs)
    columns += [("own_steps", mark) for mark in marks if mark <= own]
    body = [
        [slug, *(_success_at(results.of(env_id, slug), mark, clock) for clock, mark in columns)]
        for slug in learners(results, env_id)
    ]
    header = [f"{'all' if clock == 'env_steps' else 'own'}: {mark:,}" for clock, mark in columns]
    return markdown(["encoder", *header], body)


def _success_at(runs: Sequence[Run], step: float, clock: Clock) -> str:
    return estimate(figures_of(runs, lambda run: run.at(step, clock))).text(2)


def held_table(results: Results) -> str:
    """When the level begins to be held, over all environment steps and over PPO's own."""
    body = []
    for env_id, slug in _pairs(results):
        runs = results.of(env_id, slug)
        every = held_text([run.when_held("env_steps") for run in runs], budget(runs))
        own = held_text([run.when_held("own_steps") for run in runs], runs[0].cell["own_steps"])
        body.append([task(env_id).name, slug, str(len(runs)), every, own])
    return markdown(["task", "encoder", "seeds", "all environment steps", "PPO's own steps"], body)


def end_table(results: Results) -> str:
    """What the final weights achieve."""
    body = []
    for env_id, slug in _pairs(results):
        runs = results.of(env_id, slug)
        rates = [estimate([run.last(column) for run in runs]).text(2) for column in (*MODES, "looped_share")]
        body.append([task(env_id).name, slug, *rates])
    return markdown(["task", "encoder", "sampled success", "greedy success", "greedy episodes that looped"], body)


def imagined_table(results: Results) -> str:
    """PPO from imagination beside PPO and the agent itself after as many real steps."""
    body = []
    for env_id in results.env_ids:
        ours, plain = results.of(env_id, IMAGINED), results.of(env_id, PLAIN)
        if not ours:
            continue
        name, real = task(env_id).name, ours[0].earlier_steps
        agents = [estimate([run.pretraining[mode] for run in ours if run.pretraining]).text(2) for mode in MODES]
        body.append([name, "PPO, trained in imagination", f"{real:,}", *_rates(ours, None)])
        body.append([name, "the agent itself, planning", f"{real:,}", *agents])
        for step in (real, budget(plain)) if plain else ():
            body.append([name, "PPO, trained in the environment", f"{step:,}", *_rates(plain, step)])
    if not body:
        return "No runs in imagination yet."
    return markdown(["task", "who", "real environment steps", "sampled success", "greedy success"], body)


def _rates(runs: Sequence[Run], step: int | None) -> list[str]:
    """Sampled and greedy success in the evaluation at a step, the last one for None."""

    def read(run: Run, mode: str) -> float | None:
        return run.last(mode) if step is None else run.at(step, column=mode)

    return [estimate(figures_of(runs, functools.partial(read, mode=mode))).text(2) for mode in MODES]


def cost_table(results: Results) -> str:
    """What a run costs, mean over seeds."""
    body = []
    for env_id in results.env_ids:
        for slug in results.variants(env_id):
            runs = results.of(env_id, slug)
            before = [run.pretraining["wall_seconds"] if run.pretraining else 0.0 for run in runs]
            figures = [[run.last(column) for run in runs] for column in ("updates", "wall_seconds", "evaluation_seconds")]
            figures.insert(1, [float(run.result["auxiliary_updates"]) for run in runs])
            figures.insert(2, before)
            body.append([task(env_id).name, slug, *(f"{np.mean(each):,.0f}" for each in figures)])
    header = ["PPO's updates", "auxiliary updates", "seconds of pre-training", "seconds of PPO", "seconds of evaluation"]
    return markdown(["task", "encoder", *header], body)


def _pairs(results: Results) -> list[tuple[str, str]]:
    return [(env_id, slug) for env_id in results.env_ids for slug in learners(results, env_id)]


def terminal_table(results: Results) -> str:
    """The main figures, for a terminal."""
    lines = [f"{'task':<14} {'encoder':<11} {'seeds':>5} {'steps':>8} {'success':>8} {'greedy':>7}  steps to hold 0.9"]
    for env_id in results.env_ids:
        for slug in results.variants(env_id):
            runs = results.of(env_id, slug)
            sampled, greedy = (f"{np.mean([run.last(mode) for run in runs]):.2f}" for mode in MODES)
            held = "-" if slug == IMAGINED else held_text([run.when_held("env_steps") for run in runs], budget(runs))
            name, steps = task(env_id).name, f"{budget(runs):,}"
            lines.append(f"{name:<14} {slug:<11} {len(runs):>5} {steps:>8} {sampled:>8} {greedy:>7}  {held}")
    return "\n".join(lines)
