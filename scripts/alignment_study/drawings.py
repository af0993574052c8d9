"""The figures of the alignment study, drawn from its raw results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES, Auxiliary, auxiliary
from jepa_rl.scripts.alignment_study.rows import AUTOMATIC, BASES, SEEDS, WEIGHTED, Base
from jepa_rl.scripts.alignment_study.summary import Results, automatic, best_fixed
from jepa_rl.scripts.reporting.drawing import BLUE, COLOURS, GREY, INK, VERMILION, blank, legend, tidy
from jepa_rl.scripts.reporting.tables import Estimate

COLUMNS = 4


def prediction(results: Results) -> Figure:
    """For each base: cosines of every auxiliary, ordered by the early one, beside what it gained against that one."""
    figure = blank((11.0, sum(0.25 * len(base.added) + 1.3 for base in BASES)))
    grid = figure.add_gridspec(
        len(BASES), 2, height_ratios=[len(base.added) + 5 for base in BASES], width_ratios=(1.0, 1.35)
    )
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
        _gains(right, results, base, {slug: cosine for slug, cosine in early.items() if cosine.seeds})
        for axes in (left, right):
            axes.axvline(0, color=GREY, linewidth=0.8)
            tidy(axes)
        if row == 0:
            legend(left, loc="lower right")
    return figure


def _gains(axes: Axes, results: Results, base: Base, early: Mapping[str, Estimate]) -> None:
    """Every auxiliary by its early cosine and its gain of accuracy, with the intervals of both and its name."""
    gains = {slug: results.gain(base, slug, "accuracy") for slug in early}
    for slug, cosine in early.items():
        axes.errorbar(
            cosine.mean,
            gains[slug].mean,
            xerr=_half(cosine),
            yerr=_half(gains[slug]),
            fmt="o",
            color=INK,
            ecolor="#b8bec9",
            markersize=4.5,
            elinewidth=0.8,
        )
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("early cosine", fontsize=9, color=INK)
    axes.set_ylabel("gain of accuracy", fontsize=9, color=INK)
    # Names stand in a column beside the points, as near to their heights as leaves room for each.
    ordered = sorted(early, key=lambda slug: gains[slug].mean)
    low, high = axes.get_ylim()
    heights = [(gains[slug].mean - low) / (high - low) for slug in ordered]
    for slug, place in zip(ordered, spread(heights, 0.78 / len(AUXILIARIES)), strict=True):
        axes.annotate(
            auxiliary(slug).name,
            xy=(early[slug].mean, gains[slug].mean),
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=8,
            color=INK,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": BLUE,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Rising heights in [0, 1], moved so that neighbours are at least this far apart; ``least`` must leave room for all."""
    places: list[float] = []
    for height in heights:
        places.append(max([height, *(place + least for place in places[-1:])]))
    top = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], top)
        top = places[index] - least
    return places


def _half(found: Estimate) -> float:
    return 0.0 if math.isnan(found.half_width) else found.half_width


def _dots(axes: Axes, found: Sequence[Estimate], shift: float, *, color: str, marker: str, label: str) -> None:
    """One mean with its interval on each line; what was not measured is left out."""
    known = [(line, each) for line, each in enumerate(found) if each.seeds]
    axes.errorbar(
        [each.mean for _, each in known],
        [line + shift for line, _ in known],
        xerr=[_half(each) for _, each in known],
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
            panel.axhline(_without(results, base, each), color=colour, linestyle=":", linewidth=1)
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


def _without(results: Results, base: Base, added: Auxiliary) -> float:
    """Mean accuracy of the base, over the seeds that it shares with what is added."""
    seeds = results.shared_seeds(base, added.slug) if added in base.added else range(SEEDS)
    return statistics.fmean(run["accuracy"] for run in results.of_base(base) if run["cell"]["seed"] in seeds)


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
