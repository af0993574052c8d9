"""The learning curves of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from jepa_rl.scripts.minigrid_benchmark.drawings import panels
from jepa_rl.scripts.minigrid_benchmark.summary import MIN_SEEDS
from jepa_rl.scripts.reporting.drawing import ALGORITHM_COLOURS, COLOURS, GREY, INK, tidy
from jepa_rl.scripts.reporting.tables import estimate
from jepa_rl.scripts.sb3_benchmark.summary import SUCCESS, Clock, Results, Run, budget, figures_of, mean_curve
from jepa_rl.scripts.sb3_benchmark.tasks import IMAGINED, PLAIN, SLUGS, task

# Plain PPO has its colour of the other pages.
COLOUR_OF = dict(zip(SLUGS, (ALGORITHM_COLOURS["ppo"], *(COLOURS[index] for index in (0, 2, 3, 5))), strict=True))

BAND = 0.07  # opacity: four of them lie on top of one another


def curves(results: Results) -> Figure:
    """Sampled success against all environment steps, one panel per task; the pre-training is grey."""
    shown = [slug for slug in SLUGS if any(run.cell["algo"] == slug for run in results.runs)]
    return panels(results.env_ids, shown, "sampled success", lambda axes, env_id: _panel(axes, results, env_id))


def _panel(axes: Axes, results: Results, env_id: str) -> None:
    before = max(run.earlier_steps for run in results.runs if run.cell["env_id"] == env_id)
    if before:
        axes.axvspan(0, before, color=GREY, alpha=0.15, linewidth=0)
        axes.text(0, 1.02, "pre-training", fontsize=8, color="#5c6675", va="bottom", transform=axes.get_xaxis_transform())
    for slug in results.variants(env_id):
        runs = results.of(env_id, slug)
        if slug == IMAGINED:
            _dot(axes, before, [run.last(SUCCESS) for run in runs])
        else:
            _line(axes, runs, "env_steps", slug)
    axes.set_title(task(env_id).name, fontsize=10, color=INK, loc="left", pad=17 if before else None)
    axes.set_xlim(0, max(budget(results.of(env_id, slug)) for slug in results.variants(env_id)))
    _dress(axes)


def imagination(results: Results, env_id: str) -> Figure:
    """Success in the environment against imagined steps; the line across is PPO after as many real steps."""
    runs, plain = results.of(env_id, IMAGINED), results.of(env_id, PLAIN)
    before = runs[0].earlier_steps
    real, name = figures_of(plain, lambda run: run.at(before)), f"{PLAIN}, after {before:,} real steps"

    def draw(axes: Axes, _: str) -> None:
        _line(axes, runs, "imagined_steps", IMAGINED, 2 * BAND)
        if real:
            found = estimate(real)
            axes.axhline(found.mean, color=COLOUR_OF[PLAIN], linewidth=1.6, label=name)
            if found.seeds >= MIN_SEEDS:
                low, high = _within(found.mean - found.half_width, found.mean + found.half_width)
                axes.axhspan(float(low), float(high), color=COLOUR_OF[PLAIN], alpha=2 * BAND, linewidth=0)
        axes.set_title(task(env_id).name, fontsize=10, color=INK, loc="left")
        axes.set_xlim(0, runs[0].cell["own_steps"])
        _dress(axes)
        axes.set_ylim(lowest - 0.005, None)

    rates = [rate for run in runs for rate in run.curve[SUCCESS]] + real
    lowest = np.floor(10 * min(rates)) / 10
    label = f"sampled success (from {lowest:.1f})"
    figure = panels([env_id], [IMAGINED, *([name] if real else [])], label, draw)
    figure.axes[0].set_xlabel("imagined steps", fontsize=9, color=INK)
    return figure


def _line(axes: Axes, runs: Sequence[Run], clock: Clock, slug: str, opacity: float = BAND) -> None:
    """Mean over seeds with its 95 % interval, from three seeds on, within what a success rate can be."""
    steps, rates = mean_curve(runs, clock)
    found = [estimate(at_step.tolist()) for at_step in rates.T]
    mean, half = np.array([each.mean for each in found]), np.array([each.half_width for each in found])
    axes.plot(steps, mean, color=COLOUR_OF[slug], linewidth=1.6, label=slug)
    low, high = _within(mean - half, mean + half)
    axes.fill_between(steps, low, high, color=COLOUR_OF[slug], alpha=opacity, linewidth=0)


def _within(low: np.ndarray | float, high: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """An interval within what a success rate can be."""
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _dot(axes: Axes, step: float, rates: Sequence[float]) -> None:
    """PPO from imagination: one place, as imagined steps cost no real ones."""
    found = estimate(rates)
    axes.plot([step], [found.mean], "o", color=COLOUR_OF[IMAGINED], markersize=6, label=IMAGINED, clip_on=False, zorder=3)
    if found.seeds >= MIN_SEEDS:
        low, high = _within(found.mean - found.half_width, found.mean + found.half_width)
        axes.vlines(step, low, high, color=COLOUR_OF[IMAGINED], linewidth=1.6)


def _dress(axes: Axes) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=4)
    tidy(axes)
