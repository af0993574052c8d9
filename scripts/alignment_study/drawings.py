"""The figures of the alignment study, drawn from its raw results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES, auxiliary
from jepa_rl.scripts.alignment_study.rows import AUTOMATIC, BASES, WEIGHTED, Base
from jepa_rl.scripts.alignment_study.summary import Results, automatic, best_fixed
from jepa_rl.scripts.reporting.drawing import BLUE, COLOURS, GREY, INK, VERMILION, blank, legend, tidy
from jepa_rl.scripts.reporting.tables import Estimate

COLUMNS = 4


def prediction(results: Results) -> Figure:
    """For each base: cosines of every auxiliary beside what it gained, ordered by the early cosine."""
    figure = blank((8.6, sum(0.25 * len(base.added) + 1.0 for base in BASES)))
    grid = figure.add_gridspec(len(BASES), 2, height_ratios=[len(base.added) + 4 for base in BASES])
    for row, base in enumerate(BASES):
        early = {each.slug: results.cosine(base, each.slug, "early") for each in base.added}
        slugs = sorted(early, key=lambda slug: early[slug].mean if early[slug].seeds else -2.0)
        left, right = (figure.add_subplot(grid[row, column]) for column in range(2))
        _dots(left, [early[slug] for slug in slugs], 0.14, color=BLUE, marker="o", label="early")
        late = [results.cosine(base, slug, "late") for slug in slugs]
        _dots(left, late, -0.14, color=VERMILION, marker="s", label="late")
        left.set_yticks(range(len(slugs)), [auxiliary(slug).name for slug in slugs])
        left.set_title(base.name, fontsize=10, color=INK, loc="left")
        left.set_xlabel("cosine with the gradient of $L_{dyn}$", fontsize=9, color=INK)
        right.scatter([results.gain(base, slug, "accuracy") for slug in slugs], range(len(slugs)), s=26, color=INK)
        right.set_yticks(range(len(slugs)), [])
        right.set_xlabel("gain of accuracy, mean over weights", fontsize=9, color=INK)
        for axes in (left, right):
            axes.axvline(0, color=GREY, linewidth=0.8)
            tidy(axes)
        if row == 0:
            legend(left, loc="lower right")
    return figure


def _dots(axes: Axes, found: Sequence[Estimate], shift: float, *, color: str, marker: str, label: str) -> None:
    """One mean with its interval on each line; what was not measured is left out."""
    known = [(line, each) for line, each in enumerate(found) if each.seeds]
    axes.errorbar(
        [each.mean for _, each in known],
        [line + shift for line, _ in known],
        xerr=[0.0 if math.isnan(each.half_width) else each.half_width for _, each in known],
        fmt=marker,
        color=color,
        markersize=4,
        linewidth=1.0,
        label=label,
    )


def weights(results: Results) -> Figure:
    """Accuracy of every auxiliary against its weight, on every base; dotted lines are the bases without it."""
    rows = math.ceil(len(AUXILIARIES) / COLUMNS)
    figure = blank((9.2, 2.1 * rows + 0.5))
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, each in zip(grid.flat, AUXILIARIES, strict=False):
        for base, colour, marker in zip(BASES, COLOURS, "osD", strict=False):
            without = results.estimate(results.of_base(base), "accuracy").mean
            panel.axhline(without, color=colour, linestyle=":", linewidth=1)
            if each in base.added:
                _with_seeds(panel, results, base, each.slug, colour, marker)
        panel.set_xscale("log")
        panel.set_ylim(0, 1.03)
        panel.set_title(each.name, fontsize=9.5, color=INK, loc="left")
        tidy(panel)
    for panel in grid.flat[len(AUXILIARIES) :]:
        panel.set_visible(False)
    figure.supxlabel("weight $c_p$", fontsize=10, color=INK)
    figure.supylabel("held-out accuracy", fontsize=10, color=INK)
    marks, names = _handles(grid.flat)
    figure.legend(marks, names, loc="outside upper center", ncols=len(BASES), fontsize=9, frameon=False, labelcolor=INK)
    return figure


def _with_seeds(axes: Axes, results: Results, base: Base, slug: str, colour: str, marker: str) -> None:
    found = [results.estimate(results.added(base, slug, weight), "accuracy") for weight in base.weights]
    for weight, each in zip(base.weights, found, strict=True):
        axes.scatter([weight] * each.seeds, each.values, s=9, color=colour, alpha=0.45, linewidths=0)
    means = [each.mean for each in found]
    axes.plot(base.weights, means, color=colour, marker=marker, markersize=4, linewidth=1.3, label=base.name)


def _handles(panels: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    """What a legend of all panels shows, each once."""
    seen: dict[str, Artist] = {}
    for panel in panels:
        marks, names = panel.get_legend_handles_labels()
        seen |= {name: mark for mark, name in zip(marks, names, strict=True) if name not in seen}
    return list(seen.values()), list(seen)


def weighting(results: Results) -> Figure:
    """Accuracy of every seed beside the reward: the best fixed weight and the automatic ones."""
    figure = blank((7.4, 0.42 * len(WEIGHTED) + 1.1))
    axes = figure.add_subplot()
    for line, slug in enumerate(WEIGHTED):
        kinds = {"best fixed weight": best_fixed(results, slug)[1]}
        kinds |= {each: results.estimate(automatic(results, slug, each), "accuracy") for each in AUTOMATIC}
        for place, (name, found) in enumerate(kinds.items()):
            at, colour = line + 0.22 * (1 - place), COLOURS[place]
            axes.scatter(found.values, [at] * found.seeds, s=14, color=colour, alpha=0.45, linewidths=0)
            axes.scatter(found.mean, at, s=34, color=colour, marker="osD"[place], label=name if line == 0 else None)
    axes.set_yticks(range(len(WEIGHTED)), [f"reward + {auxiliary(slug).name}" for slug in WEIGHTED])
    axes.set_xlabel("held-out accuracy", fontsize=10, color=INK)
    axes.set_xlim(0, 1.03)
    tidy(axes)
    legend(axes, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure
