"""The figures of the noise study, drawn from its raw results."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jepa_rl.scripts.noise_study.measure import NOISES
from jepa_rl.scripts.noise_study.rows import Level, Task, row
from jepa_rl.scripts.noise_study.summary import (
    Reader,
    Results,
    bit_in_noise,
    first_time,
    probe,
    share,
    shares_ratio,
    success,
)
from jepa_rl.scripts.reporting.drawing import BLUE, COLOURS, GREY, INK, VERMILION, blank, legend, tidy

NEVER = 4.0  # decades at which "never" is drawn
SHADES = (INK, GREY, "#c3c9d2")  # of the objectives
OBJECTIVES = {"jepa": "JEPA", "mae": "MAE", "autoencoder": "autoencoder"}
NOISE = NOISES[1]  # in which the bit is drawn and judged
FOLLOWED = ("reward", "dynamics", "ema", "reconstruction")  # set against the theory


def keeps(results: Results, task: Task) -> Figure:
    """Six maps of rows against levels: what can be read from the latents, what they consist of, and success."""
    levels, rows = results.levels(task), results.rows(task)
    figure = blank((12.5, 2 * (0.27 * len(rows) + 1.5)))
    axes = None
    for index, (title, read) in enumerate(_panels(task).items()):
        axes = figure.add_subplot(2, 3, index + 1)
        found = [[results.estimate(read, task, level, each).mean for level in levels] for each in rows]
        _map(
            axes, np.array(found), [each.name for each in rows] if index % 3 == 0 else [], [level.name for level in levels]
        )
        axes.set_title(title, fontsize=10, color=INK, loc="left")
    return figure


def _panels(task: Task) -> dict[str, Reader]:
    signal = task.signals[0]
    return {
        f"{signal}, nearest centroid": lambda run: run["accuracy"][signal],
        f"{signal}, linear probe": probe(f"{signal}_linear"),
        "distractor, linear probe (R²)": probe("distractor_linear"),
        "share of the latents: signal": share("signal"),
        "share of the latents: distractor": share("distractor"),
        "success": success,
    }


def _map(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.imshow(np.clip(values, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if not math.isnan(value):
            shown = f"{value:.2f}".replace("-0.00", "0.00")  # rounded as in the tables, which NumPy's round is not
            axes.text(x, y, shown, fontsize=7.5, ha="center", va="center", color="white" if value < 0.55 else INK)
    axes.set_xticks(range(len(columns)), [textwrap.fill(name, 11) for name in columns])
    axes.set_yticks(range(values.shape[0]), rows or [""] * values.shape[0])
    axes.tick_params(labelsize=7.5, length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)


def theory(results: Results, task: Task) -> Figure:
    """Above: by how much the theory learns the distractor sooner than the signal. Below: what the latents hold more of."""
    levels = noisy_levels(results, task)
    figure = blank((8.8, 5.4))
    above, below = figure.subplots(2, 1, sharex=True)
    place = np.arange(len(levels))
    for offset, colour, (objective, name) in zip((-0.25, 0.0, 0.25), SHADES, OBJECTIVES.items(), strict=True):
        heights = [sooner(results, task, level, objective) for level in levels]
        above.bar(place + offset, heights, 0.22, color=colour, label=name)
    above.axhline(0, color=GREY, linewidth=0.8)
    above.set_ylim(-NEVER * 1.05, NEVER * 1.05)
    above.set_yticks(
        (-NEVER, -2, 0, 2, NEVER), ("distractor\nnever", "100 times", "together", "100 times", "signal\nnever")
    )
    above.set_ylabel("← signal first     distractor first →", fontsize=9, color=INK)
    above.set_title("linear theory: how many times sooner", fontsize=10, color=INK, loc="left")
    for shift, slug, colour, marker in zip((-0.24, -0.08, 0.08, 0.24), FOLLOWED, COLOURS, "oD^s", strict=False):
        found = [results.estimate(shares_ratio, task, level, row(slug)).values for level in levels]
        points = [(at + shift, value) for at, values in zip(place, found, strict=True) for value in values]
        if points:
            below.scatter(*zip(*points, strict=True), s=26, color=colour, marker=marker, linewidths=0, label=row(slug).name)
    below.axhline(0.5, color=GREY, linewidth=0.8)
    below.set_ylim(-0.05, 1.05)
    below.set_ylabel("distractor's part", fontsize=9, color=INK)
    below.set_title("measured: of what signal and distractor explain of the latents", fontsize=10, color=INK, loc="left")
    below.set_xlim(-0.5, len(levels) - 0.5)
    below.set_xticks(place, [textwrap.fill(level.name, 14) for level in levels])
    for axes in (above, below):
        tidy(axes)
        axes.grid(axis="x", visible=False)
        legend(axes, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def noisy_levels(results: Results, task: Task) -> list[Level]:
    """The levels with a distractor for which there is a reference, those at which JEPA learns it soonest last."""
    levels = [level for level in results.levels(task) if level.slug != "none" and results.reference(task, level)]
    return sorted(levels, key=lambda level: sooner(results, task, level, "jepa"))


def sooner(results: Results, task: Task, level: Level, objective: str, scale: str | None = None) -> float:
    """Decades by which the distractor is learned sooner than the signal: NEVER at most, and minus that at least."""
    reference = results.reference(task, level)
    assert reference is not None
    signal, distractor = (first_time(reference, objective, factors, scale) for factors in (task.signals, task.distractor))
    if math.isinf(signal) and math.isinf(distractor):
        return 0.0
    if math.isinf(distractor):
        return -NEVER
    return NEVER if math.isinf(signal) else float(np.clip(math.log10(signal / distractor), -NEVER, NEVER))


def bits(results: Results, task: Task) -> Figure:
    """Every run: the probe of the bit, the same in noise, and success, by row; chance and random actions dashed."""
    rows, levels = results.rows(task), results.levels(task)
    figure = blank((12.0, 0.3 * len(rows) + 1.6))
    panels: tuple[tuple[str, Reader], ...] = (
        ("bit, linear probe", probe("bit_linear")),
        (f"the same with noise of {NOISE:g}", bit_in_noise(NOISE)),
        ("success", success),
    )
    for column, (title, read) in enumerate(panels):
        axes = figure.add_subplot(1, 3, column + 1)
        for level, colour, marker, shift in zip(levels, (VERMILION, BLUE), "so", (0.14, -0.14), strict=False):
            for place, each in enumerate(rows):
                values = results.estimate(read, task, level, each).values
                label = level.name if place == 0 else "_again"
                axes.scatter(
                    values,
                    [place + shift] * len(values),
                    s=26,
                    color=colour,
                    marker=marker,
                    alpha=0.7,
                    linewidths=0,
                    label=label,
                )
            reference = results.reference(task, level)
            if read is not success:
                axes.axvline(0.5, color=GREY, linestyle="--", linewidth=0.9)
            elif reference is not None:
                axes.axvline(reference["success"], color=colour, linestyle="--", linewidth=0.9)
        axes.set_yticks(range(len(rows)), [each.name for each in rows] if column == 0 else [])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.03 if read is success else 0.35, 1.03)
        axes.set_xlabel(title, fontsize=10, color=INK)
        tidy(axes)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9, frameon=False, labelcolor=INK)
    return figure
