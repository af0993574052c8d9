"""The figures of docs/linear.md, from the raw tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from jepa_rl.scripts.linear_study.settings import COVARYING, INFLUENTIAL, PANELS
from jepa_rl.scripts.linear_study.tables import Table, rows_where
from jepa_rl.scripts.reporting.drawing import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    blank,
    class_colours,
    legend,
    picture,
    plain_numbers,
    tidy,
)
from jepa_rl.scripts.reporting.page import Picture
from jepa_rl.world_model.linear import OBJECTIVES, SMALL, Objective

NAMES: dict[Objective, str] = {"jepa": "JEPA", "mae": "MAE"}
COLOUR_OF: dict[Objective, str] = {"jepa": BLUE, "mae": VERMILION}
PAIR_COLOUR = {"covarying": VERMILION, "influential": BLUE}
PANEL_TITLES = {panel: panel.replace("lambda", r"$\lambda$").replace("rho", r"$\rho$") for panel in PANELS}
LEADING: dict[str, Any] = {"color": "black", "linewidth": 1.6}
EXACT: dict[str, Any] = {"marker": "D", "linestyle": "none", "markersize": 4, "color": "white", "markeredgecolor": INK}
OUTSIDE: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 3, "fillstyle": "none", "mew": 0.5}
MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_all(tables: Mapping[str, Table]) -> list[Picture]:
    """Every figure of the page."""
    return [draw(tables) for draw in FIGURES]


def learning_panels(tables: Mapping[str, Table]) -> Picture:
    """The paper's Figure 2: weights over time, three families of features, both objectives."""
    figure, grid = _grid(2, 3, (9.6, 5.4))
    for row, objective in zip(grid, OBJECTIVES, strict=True):
        for axes, (panel, (covariance, influence)) in zip(row, PANELS.items(), strict=True):
            curves = rows_where(tables["curves"], objective=objective, panel=panel)
            slowest = curves["learned"].max()
            pairs = list(zip(covariance, influence, strict=True))
            for (one, other), colour in zip(pairs, class_colours(len(pairs))[::-1], strict=True):
                close = np.isclose(curves["covariance"], one) & np.isclose(curves["influence"], other)
                time = np.append(curves["time"][close] / slowest, 1.12)
                share = np.append(curves["share"][close], curves["share"][close][-1])
                label = f"{one:.2g}, {other:.2g}"
                axes.plot(time, share, color=colour, linewidth=1.8, label=label)
            axes.set_xlim(0, 1.12)
            axes.set_ylim(0, 1.05)
            _label(axes, f"{NAMES[objective]}: {PANEL_TITLES[panel]}", "time / slowest feature's", "weight / fixed point")
            legend(axes, title="$\\lambda$, $\\rho$", title_fontsize=8.5, loc="upper left")
    alt = "Weights over time: JEPA and MAE when lambda varies, when rho varies, and when they conflict."
    return picture(figure, "learning", alt, wide=True)


def critical_times(tables: Mapping[str, Table]) -> Picture:
    """Measured against predicted times, and how the formula's error shrinks with eps."""
    figure, ((left, right),) = _grid(1, 2, (9.2, 4.0))
    every_depth = np.unique(tables["times"]["depth"])
    for objective in OBJECTIVES:
        times = rows_where(tables["times"], objective=objective)
        colour = COLOUR_OF[objective]
        valid = times["smallness"] <= SMALL
        left.plot(times["leading"][valid], times["measured"][valid], "o", color=colour, markersize=3.2)
        left.plot(times["leading"][~valid], times["measured"][~valid], color=colour, **OUTSIDE)
        for depth, marker in zip(every_depth, MARKERS, strict=False):
            rows = (times["depth"] == depth) & (times["influence"] == 0.7) & (times["covariance"] == 1)
            error = np.abs(times["leading"] / times["measured"] - 1)[rows]
            right.plot(times["smallness"][rows], error, marker + "-", color=colour, markersize=3.5, linewidth=0.7)
    ends = [tables["times"]["leading"].min(), tables["times"]["leading"].max()]
    left.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
    right.axvline(SMALL, color=INK, linewidth=1, linestyle="--")
    right.axhline(0.01, color=GREY, linewidth=1, linestyle=":")
    right.set_ylim(1e-8, 3)
    _label(left, "Measured against predicted", "predicted critical time", "measured hitting time")
    _label(right, r"Error of the formula at $\rho = 0.7$", r"$\epsilon / (p\,\rho^L)$", "relative error")
    handles = [Line2D([], [], color=COLOUR_OF[one], marker="o", linestyle="none", label=NAMES[one]) for one in OBJECTIVES]
    legend(left, handles=[*handles, Line2D([], [], color=INK, label="outside the domain", **OUTSIDE)], loc="upper left")
    shapes = [
        Line2D([], [], color=INK, marker=marker, linestyle="none", markersize=4, label=f"L = {depth:g}")
        for depth, marker in zip(every_depth, MARKERS, strict=False)
    ]
    legend(right, handles=shapes, loc="upper left", ncols=2)
    alt = "Left: measured against predicted times on a diagonal. Right: the formula's relative error against eps."
    return picture(figure, "times", alt, wide=True)


def order_maps(tables: Mapping[str, Table]) -> Picture:
    """Which of the two conflicting features comes first, over depth and scale."""
    figure, (row,) = _grid(1, 2, (9.2, 4.4))
    limits = tables["boundary"]
    for axes, objective in zip(row, OBJECTIVES, strict=True):
        cells = rows_where(tables["order"], objective=objective)
        depths, scales = np.unique(cells["depth"]), np.unique(cells["scale"])
        first = np.where(cells["influential"] < cells["covarying"], 1.0, 0.0)
        first[np.isnan(cells["influential"]) | np.isnan(cells["covarying"])] = np.nan
        shown = first.reshape(len(depths), len(scales)).T
        for value, colour in ((0.0, PAIR_COLOUR["covarying"]), (1.0, PAIR_COLOUR["influential"])):
            layer = np.where(shown == value, 1.0, np.nan)
            axes.pcolormesh(depths, scales, layer, cmap=ListedColormap([colour]), shading="nearest", rasterized=True)
        axes.set_facecolor("#dfe2e7")
        if objective == "jepa":
            axes.plot(limits["depth"], limits["leading"], **LEADING)
            axes.plot(limits["depth"], limits["lowest"], **EXACT)
        axes.set_yscale("log")
        axes.set_xticks(depths)
        axes.grid(visible=False)
        _label(axes, f"{NAMES[objective]}: which is learned first", "depth L", "initial scale $\\epsilon$")
    handles = [
        Patch(color=PAIR_COLOUR["covarying"], label=_pair_label("larger covariance", COVARYING)),
        Patch(color=PAIR_COLOUR["influential"], label=_pair_label("larger influence", INFLUENTIAL)),
        Patch(color="#dfe2e7", label="one starts as learned"),
        Line2D([], [], label="boundary by the paper's times", **LEADING),
        Line2D([], [], label="exact boundary", **EXACT),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK)
    alt = "Maps over depth and initial scale: JEPA learns the influential feature first in a growing band, MAE never."
    return picture(figure, "order", alt, wide=True)


def descent_curves(tables: Mapping[str, Table]) -> Picture:
    """Minibatch descent on sampled data beside the flow."""
    curves = tables["descent_curves"]
    smallest, largest = curves["batch"].min(), curves["batch"].max()
    figure, grid = _grid(2, 2, (9.2, 5.5))
    for row, process in zip(grid, np.unique(curves["process"])[::-1], strict=True):
        for axes, objective in zip(row, OBJECTIVES, strict=True):
            for influence, colour in zip(np.unique(curves["influence"]), (VERMILION, BLUE), strict=True):
                which = {"objective": objective, "process": process, "influence": influence}
                noisy, smooth = (rows_where(curves, **which, batch=size) for size in (smallest, largest))
                axes.fill_between(noisy["time"], noisy["lowest"], noisy["highest"], color=colour, alpha=0.2, linewidth=0)
                axes.plot(smooth["time"], smooth["mean"], color=colour, linewidth=1.8)
                axes.plot(smooth["time"], smooth["flow"], color="black", linewidth=1, linestyle=(0, (3, 2)))
            axes.set_ylim(0)
            _label(axes, f"{NAMES[objective]}, {process} process", "time", "weight / fixed point")
    handles = [
        Line2D([], [], color=VERMILION, label="$\\lambda=1$, $\\rho=0.4$"),
        Line2D([], [], color=BLUE, label="$\\lambda=0.8$, $\\rho=0.9$"),
        Patch(color=GREY, alpha=0.4, label=f"range over runs, batch {smallest:g}"),
        Line2D([], [], color=GREY, label=f"mean of runs, batch {largest:g}"),
        Line2D([], [], color="black", linewidth=1, linestyle=(0, (3, 2)), label="gradient flow"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False, labelcolor=INK)
    alt = "Weights under minibatch gradient descent and under the flow, static and dynamic data, JEPA and MAE."
    return picture(figure, "descent", alt, wide=True)


def unaligned_predictor(tables: Mapping[str, Table]) -> Picture:
    """What turning the predictor away from alignment does to times and to the encoding."""
    figure, ((left, right),) = _grid(1, 2, (9.2, 3.9))
    source = tables["unaligned"]
    depth = source["depth"].max()
    for objective in OBJECTIVES:
        for influence, style in zip(np.unique(source["influence"]), ("--", "-"), strict=True):
            rows = rows_where(source, objective=objective, depth=depth, influence=influence)
            label = f"{NAMES[objective]}, $\\rho={influence:g}$"
            ratio = np.where(np.isfinite(rows["learned"]), rows["learned"] / rows["aligned"], np.nan)
            left.plot(rows["angle"], ratio, style, marker="o", markersize=3.5, color=COLOUR_OF[objective], label=label)
        cosine = np.where(np.isfinite(rows["learned"]), rows["largest_cosine"], np.nan)
        right.plot(rows["angle"], cosine, "-o", markersize=3.5, color=COLOUR_OF[objective], label=NAMES[objective])
    left.set_yscale("log")
    left.set_yticks([1, 2, 5, 10, 20])
    left.yaxis.set_minor_locator(NullLocator())
    plain_numbers(left)
    for axes in (left, right):
        axes.set_xticks(np.arange(0, 181, 30))
        axes.set_xlim(-5, 185)
    _label(left, f"Slower, at depth {depth:g}", "predictor turned by, degrees", "hitting time / aligned")
    _label(right, "Features mixed on the way", "predictor turned by, degrees", "largest |cosine| of the encodings")
    legend(left, loc="upper right")
    legend(right, loc="upper right")
    alt = "Hitting times relative to the aligned start, and the largest overlap of two features, against the angle."
    return picture(figure, "unaligned", alt, wide=True)


FIGURES: tuple[Callable[[Mapping[str, Table]], Picture], ...] = (
    learning_panels,
    critical_times,
    order_maps,
    descent_curves,
    unaligned_predictor,
)


def _grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    figure = blank(size, dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        tidy(axes)
    return figure, grid


def _label(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=9.5, color=INK)
    axes.set_ylabel(ylabel, fontsize=9.5, color=INK)


def _pair_label(name: str, feature: tuple[float, float]) -> str:
    return f"{name}: $\\lambda={feature[0]:g}$, $\\rho={feature[1]:g}$"
