"""The learning curves of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from jepa_rl.scripts.minigrid_benchmark.drawings import panels
from jepa_rl.scripts.reporting.drawing import COLOURS, GREY, INK, tidy
from jepa_rl.scripts.reporting.tables import estimate
from jepa_rl.scripts.sb3_benchmark.summary import SUCCESS, Clock, Results, Run, budget, figures_of, mean_curve
from jepa_rl.scripts.sb3_benchmark.tasks import IMAGINED, PLAIN, SLUGS, task

COLOUR_OF = dict(zip(SLUGS, COLOURS, strict=False))


def curves(results: Results) -> Figure:
    """Sampled success against all environment steps, one panel per task; the pre-training is grey."""
    shown = [slug for slug in SLUGS if any(run.cell["algo"] == slug for run in results.runs)]
    return panels(results.env_ids, shown, "sampled success", lambda axes, env_id: _panel(axes, results, env_id))


def _panel(axes: Axes, results: Results, env_id: str) -> None:
    before = max(run.earlier_steps for run in results.runs if run.cell["env_id"] == env_id)
    if before:
        axes.axvspan(0, before, color=GREY, alpha=0.15, linewidth=0)
        axes.text(before / 2, 0.02, "pre-training", rotation=90, fontsize=8, color=INK, ha="center", va="bottom")
    for slug in results.variants(env_id):
        runs = results.of(env_id, slug)
        if slug == IMAGINED:
            _dot(axes, before, [run.last(SUCCESS) for run in runs])
        else:
            _line(axes, runs, "env_steps", slug)
    axes.set_title(task(env_id).name, fontsize=10, color=INK, loc="left")
    axes.set_xlim(0, max(budget(results.of(env_id, slug)) for slug in results.variants(env_id)))
    _dress(axes)


def imagination(results: Results, env_id: str) -> Figure:
    """Success in the environment against imagined steps; the line across is PPO after as many real steps."""
    runs, plain = results.of(env_id, IMAGINED), results.of(env_id, PLAIN)
    before = runs[0].earlier_steps
    real, name = figures_of(plain, lambda run: run.at(before)), f"{PLAIN}, after {before:,} real steps"

    def draw(axes: Axes, _: str) -> None:
        _line(axes, runs, "imagined_steps", IMAGINED)
        if real:
            axes.axhline(float(np.mean(real)), color=COLOUR_OF[PLAIN], linewidth=1.6, label=name)
        axes.set_title(task(env_id).name, fontsize=10, color=INK, loc="left")
        axes.set_xlim(0, runs[0].cell["own_steps"])
        _dress(axes)

    figure = panels([env_id], [IMAGINED, *([name] if real else [])], "sampled success", draw)
    figure.axes[0].set_xlabel("imagined steps", fontsize=9, color=INK)
    return figure


def _line(axes: Axes, runs: Sequence[Run], clock: Clock, slug: str) -> None:
    """Mean over seeds with its 95 % interval, from three seeds on, within what a success rate can be."""
    steps, rates = mean_curve(runs, clock)
    found = [estimate(at_step.tolist()) for at_step in rates.T]
    mean, half = np.array([each.mean for each in found]), np.array([each.half_width for each in found])
    axes.plot(steps, mean, color=COLOUR_OF[slug], linewidth=1.6, label=slug)
    low, high = np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1)
    axes.fill_between(steps, low, high, color=COLOUR_OF[slug], alpha=0.13, linewidth=0)


def _dot(axes: Axes, step: float, rates: Sequence[float]) -> None:
    """PPO from imagination: one place, as imagined steps cost no real ones."""
    found = estimate(rates)
    axes.plot([step], [found.mean], "o", color=COLOUR_OF[IMAGINED], markersize=6, label=IMAGINED, clip_on=False, zorder=3)
    if found.seeds >= 3:
        low, high = np.clip([found.mean - found.half_width, found.mean + found.half_width], 0, 1)
        axes.vlines(step, low, high, color=COLOUR_OF[IMAGINED], linewidth=1.6)


def _dress(axes: Axes) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=4)
    tidy(axes)
