"""The look of every drawing, and how it becomes a PNG. No pyplot: nothing of matplotlib's global state is used."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from jepa_rl.scripts.reporting.page import Picture

# Okabe and Ito's colours, which remain apart for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7a828e")
BLUE, VERMILION, GREY = COLOURS[0], COLOURS[1], COLOURS[-1]
ALGORITHM_COLOURS = dict(zip(("jepa", "ppo", "dqn", "sac"), COLOURS, strict=False))  # the same in all figures
INK = "#2a323e"
DPI = 160
PADDING = 0.09  # inches
HALF = (4.2, 3.2)  # inches: legible at half the page's width and on a phone


def blank(size: tuple[float, float], dpi: int | None = None, constrained: bool = True) -> Figure:
    """An empty drawing of a size in inches."""
    figure = Figure(figsize=size, dpi=dpi or DPI)
    if constrained:
        figure.set_layout_engine("constrained", w_pad=PADDING, h_pad=PADDING)
    FigureCanvasAgg(figure)
    return figure


def panel(title: str, xlabel: str, ylabel: str, size: tuple[float, float] = HALF) -> tuple[Figure, Axes]:
    """An empty drawing with one set of axes."""
    figure = blank(size)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    tidy(axes)
    return figure, axes


def plain_numbers(axes: Axes) -> None:
    """Label a logarithmic axis 0.01, 0.1, 1 instead of in powers."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def tidy(axes: Axes) -> None:
    """The look of every axes: two spines, a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
    axes.grid(color="#e8eaee", linewidth=0.8)
    axes.set_axisbelow(True)


def picture(figure: Figure, name: str, alt: str, *, wide: bool = False) -> Picture:
    """Draw it."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Picture(name=f"{name}.png", alt=alt, data=file.getvalue(), wide=wide)


def write_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Draw figures into FOLDER/NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        (folder / f"{name}.png").write_bytes(picture(figure, name, name).data)


def class_colours(number: int) -> np.ndarray:
    """One colour per class in perceptual order, RGBA [number, 4]; the palest end is left out, for white ground."""
    return colormaps["viridis"](np.linspace(0, 0.93, number))


def legend(axes: Axes, **options: Any) -> None:
    """A legend on white, so that no line crosses its words."""
    axes.legend(fontsize=8.5, facecolor="white", edgecolor="none", framealpha=0.9, labelcolor=INK, **options)
